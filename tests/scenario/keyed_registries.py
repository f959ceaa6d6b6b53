"""Repositories under keys of KMS, as registry clients and the disk see them."""

import json

from tests.scenario.drivers import ACCOUNT, REGION, InProcessDriver, authorization
from tests.scenario.images import Registry, SmallImage, digest_of
from tests.scenario.kms_keys import KeyHouse


class Keyed(Registry):
    """A repository under a key."""

    def __init__(
        self,
        keys: KeyHouse,
        name: str,
        key: str | None,
        encryption: str = "KMS",
        *,
        account_id: str = ACCOUNT,
    ) -> None:
        self.ecr = keys.root("ecr", account_id)
        self.ecr.put_account_setting(name="BLOB_MOUNTING", value="ENABLED")
        kind: dict[str, str] = {"encryptionType": encryption if key else "AES256"}
        self.ecr.create_repository(
            repositoryName=name, encryptionConfiguration=kind | ({"kmsKey": key} if key else {})
        )
        host = None if account_id == ACCOUNT else f"{account_id}.dkr.ecr.{REGION}.localhost:5050"
        super().__init__(keys.driver, authorization(self.ecr), name, host=host)

    def pulled(self, image: SmallImage, reference: str) -> bool:
        """Pull an image whole; tell whether it is as it was pushed. Fails where the manifest cannot be had."""
        answer = self.call("GET", f"/manifests/{reference}")
        assert answer.status == 200, answer
        parts = json.loads(answer.body)
        found = [
            self.call("GET", f"/blobs/{part['digest']}").body for part in (parts["config"], *parts["layers"])
        ]
        return answer.body == image.manifest() and found == [image.config, image.layer]

    def mount(self, source: str, content: bytes) -> int:
        """Ask for a blob of another repository, or any; 201: it is there, 202: it is to be uploaded."""
        named = f"&from={source}" if source else ""
        return self.call("POST", f"/blobs/uploads/?mount={digest_of(content)}{named}").status


def stored(keys: KeyHouse) -> list[bytes]:
    """All that is at rest of manifests and blobs, as far as that can be seen from here."""
    return keys.driver.all_stored() if isinstance(keys.driver, InProcessDriver) else []
