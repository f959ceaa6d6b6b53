"""The sentence of a denial (IAM user guide, "Access denied error message format"). It never names a policy."""

from openecr.domain.decisions import Decision, PolicyKind, Verdict

_VOWELS = frozenset("aeiou")


def denial_sentence(*, caller_arn: str, action: str, resource: str, verdict: Verdict) -> str:
    """Return what a caller is told who may not."""
    head = f"User: {caller_arn} is not authorized to perform: {action} on resource: {resource}"
    if verdict.decision is Decision.EXPLICIT_DENY and verdict.statement is not None:
        return f"{head} with an explicit deny in {_with_article(verdict.statement.kind)}"
    missing = verdict.missing or PolicyKind.IDENTITY
    kind = missing.value if missing is PolicyKind.BOUNDARY else f"{missing.value} policy"
    return f"{head} because no {kind} allows the {action} action"


def _with_article(kind: PolicyKind) -> str:
    if kind is PolicyKind.TRUST:
        return f"the {kind.value} policy"
    name = kind.value if kind is PolicyKind.BOUNDARY else f"{kind.value} policy"
    return f"{'an' if name[0] in _VOWELS else 'a'} {name}"
