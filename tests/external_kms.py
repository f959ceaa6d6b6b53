"""An external KMS for tests: another OpenECR server, whose KMS holds the master keys of those under test."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.running import REGION, RunningServer, running_server


@dataclass(frozen=True, slots=True)
class ExternalKms:
    """A server that speaks KMS, and its root."""

    server: RunningServer

    @property
    def client(self) -> Any:
        """A client of its KMS."""
        return self.server.client("kms")

    def make_key(self) -> str:
        """Make a key and return its ARN."""
        arn: str = self.client.create_key()["KeyMetadata"]["Arn"]
        return arn

    def credentials(self) -> dict[str, str]:
        """What the AWS SDK finds, in the variables of whoever uses it."""
        environment = self.server.environment()
        return {name: environment[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}

    def flags(self, *keys: str) -> dict[str, Any]:
        """The settings, by their names, of a server whose master keys these keys hold."""
        return {
            "keys_kms_keys": keys,
            "keys_kms_endpoint": self.server.url,
            "keys_kms_region": REGION,
            "keys_kms_check_seconds": "5",
            "keys_kms_trust_seconds": "60",
        }


@contextmanager
def external_kms(folder: Path) -> Iterator[ExternalKms]:
    """Run one for as long as the block lasts."""
    with running_server(folder) as server:
        yield ExternalKms(server)
