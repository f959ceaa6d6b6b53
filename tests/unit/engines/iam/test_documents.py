"""IAM's sentences for documents that are no policies, and for denials."""

import json
from typing import Any

import pytest

from openecr.domain.decisions import Decision, PolicyKind, StatementReference, Verdict
from openecr.engines.iam import DocumentKind, MalformedPolicy, denial_sentence, validate

GOOD: dict[str, Any] = {"Effect": "Allow", "Action": "ecr:*", "Resource": "*"}
SYNTAX = "Syntax errors in policy."
VENDOR = "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc."


def document(*statements: dict[str, Any], **more: Any) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements), **more})


def changed(**changes: Any) -> str:
    """A good statement with changes; None takes an element away."""
    return document({name: value for name, value in (GOOD | changes).items() if value is not None})


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", SYNTAX),
        ("[]", SYNTAX),
        (document(), SYNTAX),
        (document(GOOD, More=1), SYNTAX),
        ('{"Version":"2012-10-17","Version":"2012-10-17","Statement":[]}', SYNTAX),
        (document(GOOD, Version="2008-10-17"), "Policy document must be version 2012-10-17 or greater."),
        (json.dumps({"Statement": GOOD}), "Policy document must be version 2012-10-17 or greater."),
        (document(GOOD, Version="2013-01-01"), SYNTAX),
        (changed(Effect="allow"), "The policy failed legacy parsing"),
        (changed(Effect=None), SYNTAX),
        (changed(Action=None), "Policy statement must contain actions."),
        (changed(Action=[]), "Policy statement must contain actions."),
        (changed(NotAction="iam:*"), SYNTAX),
        (changed(Action="PutImage"), VENDOR),
        (changed(Action="ecr:Put:Image"), "Actions/Condition can contain only one colon."),
        (changed(Action="e cr:PutImage"), "Vendor e cr is not valid"),
        (changed(Resource=None), "Policy statement must contain resources."),
        (changed(Resource="app"), 'Resource app must be in ARN format or "*".'),
        (changed(Resource="arn:gcp:ecr:::x"), 'Partition "gcp" is not valid for resource "arn:gcp:ecr:::x".'),
        (
            changed(Resource="arn:aws:e*:::x"),
            "Resource vendor must be fully qualified and cannot contain regexes.",
        ),
        (changed(Sid="has blanks"), SYNTAX),
        (
            document(GOOD | {"Sid": "a"}, GOOD | {"Sid": "a"}),
            "Statement IDs (SID) in a single policy must be unique.",
        ),
        (changed(Principal="*"), "Policy document should not specify a principal."),
        (changed(Condition={"StringIs": {"aws:x": "y"}}), SYNTAX),
        (changed(Condition={"StringEquals": {"x": "y"}}), VENDOR),
        (changed(Condition={"StringEquals": "y"}), SYNTAX),
        (changed(Nothing=1), SYNTAX),
    ],
)
def test_identity_policies_are_refused_in_iams_words(text: str, sentence: str) -> None:
    with pytest.raises(MalformedPolicy) as refused:
        validate(text, DocumentKind.IDENTITY)
    assert refused.value.message == sentence


@pytest.mark.parametrize(
    ("kind", "statement", "sentence"),
    [
        (DocumentKind.TRUST, {"Principal": {"AWS": "*"}}, None),
        (DocumentKind.TRUST, {"Principal": {"AWS": "*"}, "Resource": "*"}, "Has prohibited field Resource."),
        (DocumentKind.TRUST, {}, "Missing required field Principal"),
        (DocumentKind.TRUST, {"Principal": {"Who": "*"}}, SYNTAX),
        (DocumentKind.REPOSITORY, {"Principal": "*", "Sid": "has blanks"}, None),
        (DocumentKind.REPOSITORY, {"Principal": "*", "Resource": "*"}, None),
        (DocumentKind.REPOSITORY, {}, "Missing required field Principal"),
        (DocumentKind.REGISTRY, {"Principal": "*"}, "Policy statement must contain resources."),
        (DocumentKind.REGISTRY, {"Principal": "*", "Resource": "*"}, None),
        (DocumentKind.SESSION, {"Resource": "*"}, None),
        (DocumentKind.KEY, {"Principal": "*", "Resource": "*"}, None),
    ],
)
def test_each_kind_has_elements_of_its_own(
    kind: DocumentKind, statement: dict[str, Any], sentence: str | None
) -> None:
    text = document({"Effect": "Allow", "Action": "ecr:*", **statement})
    if sentence is None:
        validate(text, kind)
        return
    with pytest.raises(MalformedPolicy) as refused:
        validate(text, kind)
    assert refused.value.message == sentence


def test_a_trust_policy_that_is_no_json_has_a_sentence_of_its_own() -> None:
    with pytest.raises(MalformedPolicy) as refused:
        validate("{", DocumentKind.TRUST)
    assert refused.value.message == "This policy contains invalid Json"


@pytest.mark.parametrize("half", ["\\ud800", "\\udc00", "\\udc00\\ud800"])
@pytest.mark.parametrize("place", ["Sid", "value", "key"])
def test_half_a_character_is_no_text(half: str, place: str) -> None:
    condition = {"StringLike": {"aws:key": "value"}}
    text = changed(Sid="Sid", Condition=condition)
    for kind in (DocumentKind.IDENTITY, DocumentKind.SESSION):
        validate(text.replace('"value"', '"\\ud83d\\udc33"'), kind)
        with pytest.raises(MalformedPolicy) as refused:
            validate(text.replace(place, half), kind)
        assert refused.value.message == SYNTAX


def _denied(kind: PolicyKind) -> Verdict:
    statement = StatementReference(kind=kind, source="arn:aws:iam::1:policy/secret", index=0, sid="Secret")
    return Verdict(decision=Decision.EXPLICIT_DENY, statement=statement)


@pytest.mark.parametrize(
    ("verdict", "end"),
    [
        (_denied(PolicyKind.IDENTITY), "with an explicit deny in an identity-based policy"),
        (_denied(PolicyKind.RESOURCE), "with an explicit deny in a resource-based policy"),
        (_denied(PolicyKind.BOUNDARY), "with an explicit deny in a permissions boundary"),
        (_denied(PolicyKind.SESSION), "with an explicit deny in a session policy"),
        (_denied(PolicyKind.SERVICE_CONTROL), "with an explicit deny in a service control policy"),
        (_denied(PolicyKind.TRUST), "with an explicit deny in the role trust policy"),
        (
            Verdict(decision=Decision.IMPLICIT_DENY, missing=PolicyKind.RESOURCE),
            "because no resource-based policy allows the ecr:PutImage action",
        ),
        (
            Verdict(decision=Decision.IMPLICIT_DENY, missing=PolicyKind.BOUNDARY),
            "because no permissions boundary allows the ecr:PutImage action",
        ),
        (
            Verdict(decision=Decision.IMPLICIT_DENY),
            "because no identity-based policy allows the ecr:PutImage action",
        ),
    ],
)
def test_denials_are_told_in_awss_words_and_name_no_policy(verdict: Verdict, end: str) -> None:
    said = denial_sentence(caller_arn="arn:a", action="ecr:PutImage", resource="arn:r", verdict=verdict)
    assert said == f"User: arn:a is not authorized to perform: ecr:PutImage on resource: arn:r {end}"
