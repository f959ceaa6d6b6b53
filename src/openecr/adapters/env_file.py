"""The private file `<data>/env`: what clients on this machine need, the root secret among it.

It is the only place that holds a secret in clear. One `NAME=value` a line, so that container tools read it too.
"""

from dataclasses import dataclass, field
from pathlib import Path

from openecr.adapters.private_files import write_private_file
from openecr.domain.errors import CannotStart

FILE_NAME = "env"

_KEY_ID = "AWS_ACCESS_KEY_ID"
_SECRET = "AWS_SECRET_ACCESS_KEY"  # noqa: S105 -- a variable's name
_REGION = "AWS_REGION"
_DEFAULT_REGION = "AWS_DEFAULT_REGION"
_ENDPOINT = "AWS_ENDPOINT_URL"
_CA_BUNDLE = "AWS_CA_BUNDLE"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientEnvironment:
    """How an AWS client reaches the server as the root of its default account."""

    access_key_id: str
    secret: str = field(repr=False)
    region: str
    endpoint_url: str
    ca_bundle: Path | None = None

    def variables(self) -> dict[str, str]:
        """Return the variables, by name."""
        variables = {
            _KEY_ID: self.access_key_id,
            _SECRET: self.secret,
            _REGION: self.region,
            _DEFAULT_REGION: self.region,
            _ENDPOINT: self.endpoint_url,
        }
        return variables if self.ca_bundle is None else {**variables, _CA_BUNDLE: str(self.ca_bundle)}


def write_environment(data: Path, environment: ClientEnvironment) -> Path:
    """Write the file anew and return its path. Raises CannotStart."""
    path = data / FILE_NAME
    content = "".join(f"{name}={value}\n" for name, value in environment.variables().items())
    try:
        write_private_file(path, content.encode())
    except OSError as error:
        raise CannotStart(message=f"cannot write {path}: {error.strerror}") from error
    return path


def read_environment(data: Path) -> ClientEnvironment:
    """Read the file. Raises CannotStart where the server was never started on this folder."""
    path = data / FILE_NAME
    try:
        lines = path.read_text("utf-8").splitlines()
    except FileNotFoundError:
        raise CannotStart(
            message=f"{path} does not exist: start the server with `openecr serve` first, "
            "or give its folder with --data"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise CannotStart(message=f"cannot read {path}: {error}") from error
    found = dict(line.split("=", 1) for line in lines if "=" in line)
    try:
        return ClientEnvironment(
            access_key_id=found[_KEY_ID],
            secret=found[_SECRET],
            region=found[_REGION],
            endpoint_url=found[_ENDPOINT],
            ca_bundle=Path(found[_CA_BUNDLE]) if _CA_BUNDLE in found else None,
        )
    except KeyError as error:
        raise CannotStart(message=f"{path} lacks {error.args[0]}: start the server again") from None
