"""`openecr policies`: what a policy says that its author can hardly have meant."""

from pathlib import Path
from typing import IO, Any

import click

from openecr.cli.options import read_settings, setting_options
from openecr.domain.errors import OperatorError

_SERVICES = ("ecr", "ecr-public", "iam", "sts", "cloudtrail")
_WITHOUT_API = ("ecr:ReplicateImage", "ecr:BatchImportUpstreamImage", "ecr:GetImageCopyStatus")
_OF_OTHERS = ("iam:PassRole", "sts:TagSession", "sts:SetSourceIdentity", "sts:GetServiceBearerToken")
_WITHOUT_RESOURCE = (
    "ecr:GetAuthorizationToken",
    "ecr:DescribeRegistry",
    "ecr:GetAccountSetting",
    "ecr:PutAccountSetting",
    "ecr:GetRegistryPolicy",
    "ecr:PutRegistryPolicy",
    "ecr:DeleteRegistryPolicy",
    "ecr-public:GetAuthorizationToken",
    "cloudtrail:LookupEvents",
)


@click.group()
def policies() -> None:
    """Look at policy documents."""


@policies.command()
@click.argument("files", nargs=-1, required=True, type=click.File())
@setting_options(only=("data",))
@click.pass_context
def lint(ctx: click.Context, /, *, files: tuple[IO[str], ...], **flags: Any) -> None:
    """Warn of what never matches, of actions that do not exist, and of principals that are not there.

    FILES are policy documents, - is standard input. Principals are looked up where a server runs. Ends with status 1
    where there is a warning.
    """
    data: Path = read_settings(flags).data
    found = False
    for file in files:
        for warning in _warnings(file.read(), data):
            found = True
            click.echo(f"{file.name}: {warning}")
    if found:
        ctx.exit(1)


def _warnings(text: str, data: Path) -> list[str]:
    from openecr.cli.control import ask
    from openecr.engines.iam import KnownActions, MalformedPolicy, principals_of
    from openecr.engines.iam import lint as lint_document
    from openecr.web.aws.model import load_service
    from openecr.web.control import Command

    operations = (f"{service}:{name}" for service in _SERVICES for name in load_service(service).operations)
    known = KnownActions(names={*operations, *_WITHOUT_API, *_OF_OTHERS}, without_resource=_WITHOUT_RESOURCE)
    try:
        warnings = lint_document(text, known)
        principals = principals_of(text)
    except MalformedPolicy as error:
        raise OperatorError(message=error.message) from error
    answer = ask(data, Command(command="principals", principals=principals)) if principals else None
    unknown = () if answer is None else answer["unknown"]
    return [*warnings, *(f"there is no principal {principal}" for principal in unknown)]
