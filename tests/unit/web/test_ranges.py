"""Ranges of downloads and of uploads' parts, against a naive oracle."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openecr.web.ranges import MAX_RANGES, ByteRange, Unsatisfiable, parse_content_range, parse_ranges

SIZE = 1000


def bounds(header: str, size_bytes: int = SIZE) -> list[tuple[int, int]]:
    return [(found.start, found.stop) for found in parse_ranges(header, size_bytes)]


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-99", [(0, 100)]),
        ("bytes=0-0", [(0, 1)]),
        ("bytes=500-", [(500, 1000)]),
        ("bytes=-1", [(999, 1000)]),
        ("bytes=-5000", [(0, 1000)]),
        ("bytes=990-5000", [(990, 1000)]),
        ("bytes=999-999", [(999, 1000)]),
        ("bytes=0-1, 10-19 ,-3", [(0, 2), (10, 20), (997, 1000)]),
        ("bytes=0-1,5000-6000", [(0, 2)]),
    ],
)
def test_a_satisfiable_range_is_cut_to_the_blob(header: str, expected: list[tuple[int, int]]) -> None:
    assert bounds(header) == expected


@pytest.mark.parametrize(
    "header", ["bytes=1000-", "bytes=1000-1001", "bytes=500-0", "bytes=-0", "bytes=5000-,-0"]
)
def test_a_range_without_any_byte_is_unsatisfiable(header: str) -> None:
    with pytest.raises(Unsatisfiable):
        parse_ranges(header, SIZE)


def test_nothing_of_an_empty_blob_can_be_a_range() -> None:
    with pytest.raises(Unsatisfiable):
        parse_ranges("bytes=0-", 0)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=a-b",
        "bytes=1",
        "bytes=1-2-3",
        "bytes=+1-2",
        "bytes=0-1,,2-3",
        "bytes=\u0660-\u0661",
        "items=0-1",
        "Bytes 0-1",
        "bytes=0-" + "9" * 19,
    ],
)
def test_what_is_no_range_means_the_whole_blob(header: str) -> None:
    assert parse_ranges(header, SIZE) == ()


def test_more_ranges_than_allowed_mean_the_whole_blob() -> None:
    ranges = ",".join(f"{index}-{index}" for index in range(MAX_RANGES))

    assert len(parse_ranges(f"bytes={ranges}", 2 * MAX_RANGES)) == MAX_RANGES
    assert parse_ranges(f"bytes={ranges},100-100", 2 * MAX_RANGES) == ()


def test_ranges_of_more_bytes_than_the_blob_has_mean_the_whole_blob() -> None:
    assert parse_ranges("bytes=0-,0-0", SIZE) == ()
    assert len(parse_ranges("bytes=0-499,500-999", SIZE)) == 2


def test_a_content_range_names_the_inclusive_last_byte() -> None:
    assert ByteRange(start=0, stop=100).content_range(SIZE) == "bytes 0-99/1000"


@given(first=st.integers(0, 40), last=st.none() | st.integers(0, 40), size=st.integers(0, 30))
def test_a_single_range_selects_what_slicing_selects(first: int, last: int | None, size: int) -> None:
    content = bytes(range(size))
    expected = content[first:] if last is None else content[first : last + 1]
    header = f"bytes={first}-{'' if last is None else last}"

    if not expected:
        with pytest.raises(Unsatisfiable):
            parse_ranges(header, size)
        return
    (found,) = parse_ranges(header, size)
    assert content[found.start : found.stop] == expected


@given(st.text(max_size=40), st.integers(0, 100))
def test_any_text_gives_ranges_within_the_blob(text: str, size: int) -> None:
    for header in (text, "bytes=" + text):
        try:
            found = parse_ranges(header, size)
        except Unsatisfiable:
            continue
        assert all(0 <= each.start < each.stop <= size for each in found)


@given(st.lists(st.from_regex(r"[0-9]{0,3}-[0-9]{0,3}", fullmatch=True), max_size=40), st.integers(0, 100))
def test_any_list_of_ranges_never_costs_more_than_the_blob(specifications: list[str], size: int) -> None:
    try:
        found = parse_ranges("bytes=" + ",".join(specifications), size)
    except Unsatisfiable:
        return
    assert sum(each.size_bytes for each in found) <= size


@pytest.mark.parametrize("header", ["5-9", "bytes 5-9", "bytes 5-9/100", "bytes 5-9/*", "bytes=5-9", " 5-9 "])
def test_a_part_says_its_first_and_last_byte(header: str) -> None:
    assert parse_content_range(header) == (5, 9)


@pytest.mark.parametrize(
    "header", ["", "-", "5-", "-9", "5", "a-b", "5-9-10", "bytes */100", "5-" + "9" * 19]
)
def test_what_is_no_content_range_is_none(header: str) -> None:
    assert parse_content_range(header) is None
