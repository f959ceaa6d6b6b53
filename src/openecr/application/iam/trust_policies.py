"""Trust policies: who may assume a role. Refused where they are none, or would let in whoever comes.

Some identity providers sign tokens for everybody who opens an account there, so that a role which trusts one has to say
whose tokens count (IAM user guide, "Identity-provider controls for shared OIDC providers"). That is tried rather than
read: the policy is asked about the token of a stranger.
"""

import json
from collections.abc import Iterator
from dataclasses import replace

from openecr.application.iam.documents import check_document, counted_characters
from openecr.application.policy_principals import PrincipalNotFound, resolve, shown
from openecr.domain.decisions import Decision, PolicyKind
from openecr.domain.iam import Entity, IamRole
from openecr.domain.iam_errors import IamLimitExceeded, MalformedPolicyDocument
from openecr.domain.oidc_providers import provider_arn
from openecr.engines.iam import (
    UNDECIDED,
    DocumentKind,
    MalformedPolicy,
    PolicySet,
    Principal,
    PrincipalType,
    Question,
    compile_policy,
    decide,
    principals_of,
)
from openecr.store.connections import Connection

_MAX_CHARACTERS = 2_048
_TAKE = "sts:AssumeRoleWithWebIdentity"
_PROVIDER = ":oidc-provider/"
_STRANGERS = {
    "token.actions.githubusercontent.com": "repo:-stranger/-stranger:ref:refs/heads/-stranger",
    "gitlab.com": "project_path:-stranger/-stranger:ref_type:branch:ref:-stranger",
    "app.terraform.io": "organization:-stranger:project:-stranger:workspace:-stranger:run_phase:apply",
}
"""Subjects in the tokens of shared issuers that belong to nobody: no account there may be called so."""


def check_trust(document: str, account_id: str) -> None:
    """Check the trust policy of an account's role. Raises MalformedPolicyDocument, IamLimitExceeded."""
    check_document(document, DocumentKind.TRUST)
    if counted_characters(document) > _MAX_CHARACTERS:
        raise IamLimitExceeded(message=f"Cannot exceed quota for ACLSizePerRole: {_MAX_CHARACTERS}")
    for principal in principals_of(document):
        if not principal.isascii() or not principal.isprintable():  # of escapes, which databases may not take
            raise _invalid(ascii(principal)[1:-1])
    for arn, issuer in _shared_providers(document, account_id):
        if _lets_in_a_stranger(document, account_id, arn, issuer):
            raise MalformedPolicyDocument(
                message=f"Missing required condition: {issuer}:sub has to tell whose tokens count, for many share "
                "this provider"
            )


def resolved_principals(connection: Connection, document: str) -> str:
    """Return JSON of the ids that principals have now. Raises MalformedPolicyDocument."""
    try:
        return json.dumps(resolve(connection, document))
    except PrincipalNotFound as error:
        raise _invalid(error.principal) from error


def as_shown(connection: Connection, entity: Entity) -> Entity:
    """Return a role with its trust policy as it is shown: who is gone by a unique id. Others are as they are."""
    if not isinstance(entity, IamRole):
        return entity
    return replace(
        entity, trust_policy=shown(connection, entity.trust_policy, json.loads(entity.trust_principals))
    )


def _invalid(principal: str) -> MalformedPolicyDocument:
    return MalformedPolicyDocument(message=f'Invalid principal in policy: "AWS":"{principal[:2048]}"')


def _shared_providers(document: str, account_id: str) -> Iterator[tuple[str, str]]:
    """Yield ARN and URL of shared providers: those that a policy names, and those that it may mean by `*`."""
    for issuer in _STRANGERS:
        yield provider_arn(account_id, issuer), issuer
    for arn in principals_of(document):
        issuer = arn.partition(_PROVIDER)[2]
        if _host(issuer) in _STRANGERS:
            yield arn, issuer


def _host(issuer: str) -> str:
    return issuer.partition("/")[0].lower()


class _TokenOfAStranger:
    """What is known of a token: its subject. Whatever else a policy asks for may well be so."""

    def __init__(self, issuer: str) -> None:
        self._key = f"{issuer}:sub".lower()
        self._subject = (_STRANGERS[_host(issuer)],)

    def get(self, key: str) -> tuple[str, ...] | None:
        if key == self._key:
            return self._subject
        return None if key.endswith(":sub") else UNDECIDED


def _lets_in_a_stranger(document: str, account_id: str, arn: str, issuer: str) -> bool:
    try:
        policy = compile_policy(document, kind=PolicyKind.TRUST, source=arn)
    except MalformedPolicy as error:
        raise MalformedPolicyDocument(message=error.message) from error
    question = Question(
        principal=Principal(
            account_id=account_id, type=PrincipalType.WEB_IDENTITY, arn=arn, unique_id=issuer
        ),
        action=_TAKE,
        resource="*",
        resource_account_id=account_id,
        context=_TokenOfAStranger(issuer),
    )
    return (
        decide(question, PolicySet(resource=(policy,), resource_must_allow=True)).decision is Decision.ALLOW
    )
