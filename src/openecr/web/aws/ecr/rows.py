"""Every operation of ECR, one row each: what it requires, how much body it takes, who handles it."""

from openecr.domain.callers import Caller, RequestContext
from openecr.domain.decisions import Requirement
from openecr.domain.errors import InvalidParameter
from openecr.domain.names import is_repository_name
from openecr.domain.registries import RegistryId, parse_repository_arn
from openecr.web.aws.call import Handler, Parameters
from openecr.web.aws.ecr import (
    account_settings,
    authorization_tokens,
    images,
    layers,
    registry_policies,
    repositories,
    repository_policies,
    resource_tags,
)
from openecr.web.aws.rows import MIB, Requires, Row

# --- what is required, by the shape of the input -------------------------------------------------------------------

_REPOSITORY = frozenset({"registryId", "repositoryName"})
_EVERY_REPOSITORY = "*"


def _registry(caller: Caller, context: RequestContext, parameters: Parameters) -> RegistryId:
    """Return the registry that `registryId` names, the caller's own where it is absent."""
    return RegistryId(account_id=parameters.get("registryId") or caller.account_id, region=context.region)


def _on_repository(*actions: str) -> Requires:
    def requires(caller: Caller, context: RequestContext, parameters: Parameters) -> list[Requirement]:
        registry = _registry(caller, context, parameters)
        return [Requirement(actions=actions, registry=registry, repository_name=parameters["repositoryName"])]

    return requires


def _on_new_repository(caller: Caller, context: RequestContext, parameters: Parameters) -> list[Requirement]:
    """CreateRepository; with tags it is also TagResource, and the tags are condition keys."""
    keys = _tag_keys(parameters)
    return [
        Requirement(
            actions=("ecr:CreateRepository", "ecr:TagResource") if keys else ("ecr:CreateRepository",),
            registry=_registry(caller, context, parameters),
            repository_name=parameters["repositoryName"],
            context_keys=keys,
        )
    ]


def _on_named_repositories(
    caller: Caller, context: RequestContext, parameters: Parameters
) -> list[Requirement]:
    """DescribeRepositories: each that is named, or all of them."""
    registry = _registry(caller, context, parameters)
    names = dict.fromkeys(parameters.get("repositoryNames") or (_EVERY_REPOSITORY,))
    return [
        Requirement(actions=("ecr:DescribeRepositories",), registry=registry, repository_name=name)
        for name in names
    ]


def _on_resource(action: str) -> Requires:
    def requires(caller: Caller, context: RequestContext, parameters: Parameters) -> list[Requirement]:
        del caller
        registry, name = _named_by_arn(parameters["resourceArn"], context)
        keys = _tag_keys(parameters)
        return [Requirement(actions=(action,), registry=registry, repository_name=name, context_keys=keys)]

    return requires


def _on_everything(action: str) -> Requires:
    """Actions that know no resource: always the caller's own registry."""

    def requires(caller: Caller, context: RequestContext, parameters: Parameters) -> list[Requirement]:
        del parameters
        return [Requirement(actions=(action,), registry=_registry(caller, context, {}))]

    return requires


def _named_by_arn(arn: str, context: RequestContext) -> tuple[RegistryId, str]:
    """Return what an ARN of this region names. Raises InvalidParameter."""
    found = parse_repository_arn(arn)
    if found is None or found[0].region != context.region or not is_repository_name(found[1]):
        raise InvalidParameter(parameter="resourceArn", constraint="Invalid ARN")
    return found


def _tag_keys(parameters: Parameters) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Return the condition keys of the resource tags in a request (IAM user guide, aws:RequestTag, aws:TagKeys)."""
    tags = {tag["Key"]: tag["Value"] for tag in parameters.get("tags") or ()}
    keys = tuple(tags) or tuple(dict.fromkeys(parameters.get("tagKeys") or ()))
    if not keys:
        return ()
    request_tags = tuple((f"aws:RequestTag/{key}", (value,)) for key, value in tags.items())
    return (*request_tags, ("aws:TagKeys", keys))


# --- the rows ------------------------------------------------------------------------------------------------------


def _repository_row(name: str, handler: Handler, *, body_max_bytes: int = MIB, action: str = "") -> Row:
    """Return the row of an operation on the repository that it names, by the action of its own name or another."""
    return Row(
        service="ecr",
        name=name,
        requires=_on_repository(f"ecr:{action or name}"),
        needs=_REPOSITORY,
        handler=handler,
        body_max_bytes=body_max_bytes,
    )


def _resource_row(name: str, handler: Handler) -> Row:
    return Row(
        service="ecr",
        name=name,
        requires=_on_resource(f"ecr:{name}"),
        needs=frozenset({"resourceArn", "tags", "tagKeys"}),
        handler=handler,
    )


def _registry_row(name: str, handler: Handler) -> Row:
    return Row(service="ecr", name=name, requires=_on_everything(f"ecr:{name}"), handler=handler)


def _setting_row(name: str, handler: Handler) -> Row:
    """Which setting is meant is a condition key."""

    def requires(caller: Caller, context: RequestContext, parameters: Parameters) -> list[Requirement]:
        keys = (("ecr:AccountSetting", (parameters["name"],)),)
        registry = _registry(caller, context, {})
        return [Requirement(actions=(f"ecr:{name}",), registry=registry, context_keys=keys)]

    return Row(service="ecr", name=name, requires=requires, needs=frozenset({"name"}), handler=handler)


ROWS: tuple[Row, ...] = (
    # Authorization tokens and account settings
    _registry_row("GetAuthorizationToken", authorization_tokens.get_authorization_token),
    _setting_row("GetAccountSetting", account_settings.get_account_setting),
    _setting_row("PutAccountSetting", account_settings.put_account_setting),
    # Repositories
    Row(
        service="ecr",
        name="CreateRepository",
        requires=_on_new_repository,
        needs=_REPOSITORY | {"tags"},
        handler=repositories.create_repository,
    ),
    Row(
        service="ecr",
        name="DescribeRepositories",
        requires=_on_named_repositories,
        needs=frozenset({"registryId", "repositoryNames"}),
        handler=repositories.describe_repositories,
    ),
    _repository_row("DeleteRepository", repositories.delete_repository),
    _repository_row("PutImageTagMutability", repositories.put_image_tag_mutability),
    _repository_row("PutImageScanningConfiguration", repositories.put_image_scanning_configuration),
    # Policies
    _repository_row("SetRepositoryPolicy", repository_policies.set_repository_policy),
    _repository_row("GetRepositoryPolicy", repository_policies.get_repository_policy),
    _repository_row("DeleteRepositoryPolicy", repository_policies.delete_repository_policy),
    _registry_row("PutRegistryPolicy", registry_policies.put_registry_policy),
    _registry_row("GetRegistryPolicy", registry_policies.get_registry_policy),
    _registry_row("DeleteRegistryPolicy", registry_policies.delete_registry_policy),
    # Resource tags
    _resource_row("TagResource", resource_tags.tag_resource),
    _resource_row("UntagResource", resource_tags.untag_resource),
    _resource_row("ListTagsForResource", resource_tags.list_tags_for_resource),
    # Images
    _repository_row("PutImage", images.put_image, body_max_bytes=16 * MIB),
    _repository_row("BatchGetImage", images.batch_get_image),
    _repository_row("BatchDeleteImage", images.batch_delete_image),
    _repository_row("DescribeImages", images.describe_images),
    _repository_row("ListImages", images.list_images),
    _repository_row("ListImageReferrers", images.list_image_referrers, action="BatchGetImage"),
    # Layers
    _repository_row("BatchCheckLayerAvailability", layers.batch_check_layer_availability),
    _repository_row("InitiateLayerUpload", layers.initiate_layer_upload),
    _repository_row("UploadLayerPart", layers.upload_layer_part, body_max_bytes=28 * MIB),
    _repository_row("CompleteLayerUpload", layers.complete_layer_upload),
    _repository_row("GetDownloadUrlForLayer", layers.get_download_url_for_layer),
)
