"""Repositories: created, described, changed and deleted."""

from openecr.domain.repositories import Repository
from openecr.web.aws.call import Call, Output, Services
from openecr.web.aws.ecr.resource_tags import read_tags
from openecr.web.aws.ecr.settings_of_repositories import (
    read_settings,
    read_tag_mutability,
    write_encryption,
    write_tag_mutability,
)
from openecr.web.aws.pages import next_token, page_request, refuse_paging


async def create_repository(services: Services, call: Call) -> Output:
    """Create a repository, with its resource tags or not at all."""
    settings = read_settings(call.parameters)
    tags = read_tags(call.parameters.get("tags") or ())
    return {"repository": _told(services, await services.kms.repositories.create(call.grant, settings, tags))}


async def describe_repositories(services: Services, call: Call) -> Output:
    """Return the repositories that are named, or a page of all of them."""
    if "repositoryNames" in call.parameters:
        refuse_paging(call, "repositoryNames")
        named = await services.repositories.describe(call.grants)
        return {"repositories": [_told(services, repository) for repository in named]}
    page = await services.repositories.list(call.grant, page_request(call))
    return {
        "repositories": [_told(services, repository) for repository in page.items],
        "nextToken": next_token(call, page),
    }


async def delete_repository(services: Services, call: Call) -> Output:
    """Delete a repository; `force` also where it has images."""
    deleted = await services.kms.repositories.delete(call.grant, force=call.parameters.get("force", False))
    return {"repository": _told(services, deleted)}


async def put_image_tag_mutability(services: Services, call: Call) -> Output:
    """Replace mode and filters together."""
    setting = read_tag_mutability(call.parameters)
    repository = await services.repositories.set_tag_mutability(call.grant, setting)
    return {
        "registryId": repository.registry.account_id,
        "repositoryName": repository.name,
        **write_tag_mutability(setting),
    }


async def put_image_scanning_configuration(services: Services, call: Call) -> Output:
    """Store the setting, which is deprecated in ECR and echoed all the same."""
    scan_on_push = call.parameters["imageScanningConfiguration"].get("scanOnPush", False)
    repository = await services.repositories.set_scan_on_push(call.grant, scan_on_push=scan_on_push)
    return {
        "registryId": repository.registry.account_id,
        "repositoryName": repository.name,
        "imageScanningConfiguration": {"scanOnPush": scan_on_push},
    }


def _told(services: Services, repository: Repository) -> Output:
    return {
        "repositoryArn": repository.arn,
        "registryId": repository.registry.account_id,
        "repositoryName": repository.name,
        "repositoryUri": services.hosts.repository_uri(repository.registry, repository.name),
        "createdAt": repository.created_at,
        **write_tag_mutability(repository.settings.tag_mutability),
        "imageScanningConfiguration": {"scanOnPush": repository.settings.scan_on_push},
        "encryptionConfiguration": write_encryption(repository.settings.encryption),
    }
