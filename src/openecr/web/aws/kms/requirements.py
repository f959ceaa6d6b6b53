"""What operations of KMS require, by the shape of their input (service authorization reference, "KMS").

A key is named by its id, by its ARN, and where it is used also by an alias: the authorizer decides on the key that is
meant. A denial shows what the request names, so that what exists and what does not look the same.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from openecr.application.key_names import NamedKey, read_key
from openecr.domain.callers import Caller, RequestContext
from openecr.domain.decisions import Requirement
from openecr.domain.errors import AccessDenied
from openecr.domain.kms import (
    KEY_ORIGIN,
    KEY_SPEC,
    KEY_USAGE,
    KeyName,
    alias_arn,
    context_keys,
    is_alias,
    is_within_account,
)
from openecr.domain.kms_errors import (
    CIPHERTEXT_DENIED,
    InvalidCiphertext,
    InvalidGrantToken,
    KmsNotFound,
    KmsValidationFailed,
)
from openecr.domain.registries import RegistryId
from openecr.engines.kms import NotOurs, origin_of, parse_grant_token
from openecr.web.aws.call import Parameters
from openecr.web.aws.rows import Requires

ContextKeys = tuple[tuple[str, tuple[str, ...]], ...]

_EXACT, _SUBSET = "EncryptionContextEquals", "EncryptionContextSubset"


def registry_of(caller: Caller, context: RequestContext) -> RegistryId:
    """Return the caller's account in the region of the request."""
    return RegistryId(account_id=caller.account_id, region=context.region)


def within_account(requires: Requires) -> Requires:
    """Require the same, where an action is for it, of keys and aliases of the caller's account alone."""

    def narrowed(caller: Caller, context: RequestContext, parameters: Parameters) -> list[Requirement]:
        return [
            replace(each, within_account=any(map(is_within_account, each.actions)))
            for each in requires(caller, context, parameters)
        ]

    return narrowed


def on_everything(action: str) -> Requires:
    """Require an action that knows no resource."""

    def requires(caller: Caller, context: RequestContext, parameters: Parameters) -> list[Requirement]:
        del parameters
        return [Requirement(actions=(action,), registry=registry_of(caller, context))]

    return requires


def on_new_key(caller: Caller, context: RequestContext, parameters: Parameters) -> list[Requirement]:
    """CreateKey; with tags it is also TagResource."""
    tags = _tag_keys(parameters)
    keys: ContextKeys = (
        ("kms:KeySpec", (parameters.get("KeySpec") or parameters.get("CustomerMasterKeySpec") or KEY_SPEC,)),
        ("kms:KeyUsage", (parameters.get("KeyUsage") or KEY_USAGE,)),
        ("kms:KeyOrigin", (parameters.get("Origin") or KEY_ORIGIN,)),
        ("kms:MultiRegion", (_flag(parameters.get("MultiRegion")),)),
        *_bypass(parameters),
    )
    return [
        Requirement(
            actions=("kms:CreateKey", "kms:TagResource") if tags else ("kms:CreateKey",),
            registry=registry_of(caller, context),
            context_keys=(*keys, *tags),
        )
    ]


def on_key(
    action: str,
    *,
    member: str = "KeyId",
    takes_alias: bool = False,
    numbers: Mapping[str, str] | None = None,
) -> Requires:
    """Require an action on the key that a member names. `numbers`: condition keys by the members that they tell."""

    def requires(caller: Caller, context: RequestContext, parameters: Parameters) -> list[Requirement]:
        named = read_key(parameters[member], registry_of(caller, context), takes_alias=takes_alias)
        keys: ContextKeys = tuple(
            (key, (str(parameters[name]),))
            for name, key in (numbers or {}).items()
            if parameters.get(name) is not None
        )
        return [requirement(action, named, (*_tag_keys(parameters), *keys))]

    return requires


def on_policy(caller: Caller, context: RequestContext, parameters: Parameters) -> list[Requirement]:
    """PutKeyPolicy."""
    named = read_key(parameters["KeyId"], registry_of(caller, context), takes_alias=False)
    return [requirement("kms:PutKeyPolicy", named, _bypass(parameters))]


def on_ciphertext_of(action: str) -> Requires:
    """Require an action that encrypts under the key that KeyId names."""

    def requires(caller: Caller, context: RequestContext, parameters: Parameters) -> list[Requirement]:
        named = read_key(parameters["KeyId"], registry_of(caller, context))
        return [requirement(action, named, encryption_keys(parameters.get("EncryptionContext")))]

    return requires


def on_ciphertext(caller: Caller, context: RequestContext, parameters: Parameters) -> list[Requirement]:
    """Decrypt: the key that is named, or else the one that the ciphertext names."""
    named = _named_or_origin(parameters, "KeyId", caller, context)
    return [requirement("kms:Decrypt", named, encryption_keys(parameters.get("EncryptionContext")))]


def on_re_encryption(caller: Caller, context: RequestContext, parameters: Parameters) -> list[Requirement]:
    """ReEncrypt: one action on the key of the ciphertext, another on the key that is to encrypt it."""
    source = _named_or_origin(parameters, "SourceKeyId", caller, context)
    destination = read_key(parameters["DestinationKeyId"], registry_of(caller, context))
    return [
        requirement("kms:ReEncryptFrom", source, encryption_keys(parameters.get("SourceEncryptionContext"))),
        requirement(
            "kms:ReEncryptTo", destination, encryption_keys(parameters.get("DestinationEncryptionContext"))
        ),
    ]


def on_alias_and_key(action: str) -> Requires:
    """Require an action on an alias, on the key that it names if it is there, and on the one that it is to name."""

    def requires(caller: Caller, context: RequestContext, parameters: Parameters) -> list[Requirement]:
        registry, name = registry_of(caller, context), parameters["AliasName"]
        required = [Requirement(actions=(action,), registry=registry, arn=alias_arn(registry, name))]
        if "TargetKeyId" in parameters and action != "kms:DeleteAlias":
            target = read_key(parameters["TargetKeyId"], registry, takes_alias=False)
            required.append(requirement(action, target, (("kms:RequestAlias", (name,)),)))
        if action != "kms:CreateAlias" and is_alias(name):
            present = NamedKey(registry=registry, name=KeyName(alias=name))
            required.append(requirement(action, present))
        return required

    return requires


def on_new_grant(caller: Caller, context: RequestContext, parameters: Parameters) -> list[Requirement]:
    """CreateGrant: policies may ask for everything that the grant says."""
    named = read_key(parameters["KeyId"], registry_of(caller, context), takes_alias=False)
    constraints: Parameters = parameters.get("Constraints") or {}
    kinds = tuple(kind for kind in (_EXACT, _SUBSET) if constraints.get(kind) is not None)
    limited = constraints.get(_EXACT) or constraints.get(_SUBSET)
    keys: ContextKeys = (
        ("kms:GrantIsForAWSResource", ("false",)),
        ("kms:GrantOperations", tuple(parameters.get("Operations") or ())),
        *_text("kms:GranteePrincipal", parameters.get("GranteePrincipal")),
        *_text("kms:RetiringPrincipal", parameters.get("RetiringPrincipal")),
        *((("kms:GrantConstraintType", kinds),) if kinds else ()),
        *context_keys(limited),
    )
    return [requirement("kms:CreateGrant", named, keys)]


def on_retired_grant(caller: Caller, context: RequestContext, parameters: Parameters) -> list[Requirement]:
    """RetireGrant: the grant itself says who may, beside policies of the key and the account."""
    named, grant_id = retired(caller, context, parameters)
    return [requirement("kms:RetireGrant", replace(named, name=replace(named.name, grant_id=grant_id)))]


def retired(caller: Caller, context: RequestContext, parameters: Parameters) -> tuple[NamedKey, str]:
    """Return the key and the id of the grant that RetireGrant names. Raises InvalidGrantToken, KmsValidationFailed."""
    token, key, grant_id = (parameters.get(name) for name in ("GrantToken", "KeyId", "GrantId"))
    if token is not None:
        try:
            registry, key_id, found = parse_grant_token(token)
        except ValueError as error:
            raise InvalidGrantToken(message="The grant token is invalid.") from error
        if registry.region != context.region:
            raise KmsNotFound(message=f"Invalid arn {registry.region}")
        return NamedKey(registry=registry, name=KeyName(key_id=key_id)), found
    if key is None or grant_id is None:
        raise KmsValidationFailed(message="Either a GrantToken, or both KeyId and GrantId, are needed")
    return read_key(key, registry_of(caller, context), takes_alias=False), grant_id


def requirement(action: str, named: NamedKey, keys: ContextKeys = ()) -> Requirement:
    """Return the requirement of an action on a key."""
    alias = (("kms:RequestAlias", (named.name.alias,)),) if named.name.alias else ()
    return Requirement(
        actions=(action,),
        registry=named.registry,
        arn=named.arn,
        entity=named.name,
        context_keys=(*alias, *keys),
    )


def encryption_keys(context: Mapping[str, str] | None) -> ContextKeys:
    """Return the condition keys that tell how something is encrypted."""
    return (("kms:EncryptionAlgorithm", (KEY_SPEC,)), *context_keys(context))


def _named_or_origin(
    parameters: Parameters, member: str, caller: Caller, context: RequestContext
) -> NamedKey:
    """Raises InvalidCiphertext, AccessDenied for a ciphertext of another region, KmsValidationFailed without one."""
    named = parameters.get(member)
    if named is not None:
        return read_key(named, registry_of(caller, context))
    blob = parameters.get("CiphertextBlob")
    if blob is None:
        raise KmsValidationFailed(message="A CiphertextBlob is needed")
    try:
        origin = origin_of(blob)
    except NotOurs as error:
        raise InvalidCiphertext from error
    if origin.registry.region != context.region:
        raise AccessDenied(message=CIPHERTEXT_DENIED)
    return NamedKey(registry=origin.registry, name=KeyName(key_id=origin.key_id, is_in_ciphertext=True))


def _tag_keys(parameters: Parameters) -> ContextKeys:
    """Return the condition keys of tags that are given, or of those that are to go."""
    tags: Sequence[Parameters] = parameters.get("Tags") or ()
    names = tuple(tag["TagKey"] for tag in tags) or tuple(parameters.get("TagKeys") or ())
    if not names:
        return ()
    return (
        *((f"aws:RequestTag/{tag['TagKey']}", (tag["TagValue"],)) for tag in tags),
        ("aws:TagKeys", names),
    )


def _bypass(parameters: Parameters) -> ContextKeys:
    return (
        ("kms:BypassPolicyLockoutSafetyCheck", (_flag(parameters.get("BypassPolicyLockoutSafetyCheck")),)),
    )


def _flag(value: object) -> str:
    return "true" if value else "false"


def _text(name: str, value: str | None) -> ContextKeys:
    return () if value is None else ((name, (value,)),)
