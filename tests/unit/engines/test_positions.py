"""Where statements stand in documents."""

import json

from hypothesis import given
from hypothesis import strategies as st

from openecr.engines.iam.positions import Position, Span, statement_spans

STATEMENTS = st.lists(
    st.fixed_dictionaries({"Effect": st.just("Allow"), "Action": st.text(max_size=8)}), min_size=1, max_size=4
)


def cut(text: str, span: Span) -> str:
    def offset(position: Position) -> int:
        return sum(len(line) + 1 for line in text.split("\n")[: position.line - 1]) + position.column - 1

    return text[offset(span.start) : offset(span.end) + 1]


@given(STATEMENTS, st.sampled_from([None, 0, 2]), st.booleans())
def test_what_stands_between_start_and_end_is_the_statement(
    statements: list[dict[str, str]], indent: int | None, is_last: bool
) -> None:
    document = {"Version": "2012-10-17", "Statement": statements, "Id": "Statement"}
    if is_last:
        document = dict(reversed(document.items()))
    text = json.dumps(document, indent=indent)

    assert [json.loads(cut(text, span)) for span in statement_spans(text)] == statements


def test_lines_and_columns_count_from_one() -> None:
    (span,) = statement_spans('{\n "Statement" :\t{\n  "a": "}"}}')

    assert (span.start, span.end) == (Position(line=2, column=16), Position(line=3, column=11))
