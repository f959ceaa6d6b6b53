"""Images in repositories under keys of KMS: sealed, shared within a key alone, and closed with their key at once."""

import json
import os
import urllib.request
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError
from sqlalchemy import bindparam, select, update

from openecr.domain.blobs import StoredBlob
from openecr.store.connections import Connection
from openecr.store.scrubbing import list_stored
from openecr.store.statements import Statement
from openecr.store.tables import IMAGES, LINKS, MANIFESTS, REPOSITORIES
from tests.scenario.drivers import ACCOUNT, REGION, InProcessDriver
from tests.scenario.images import CONFIG_TYPE, MANIFEST_TYPE, SmallImage, digest_of, error_of
from tests.scenario.keyed_registries import Keyed, stored
from tests.scenario.kms_keys import OTHER, KeyHouse, account, allow, deny

EMPTY = b"{}"

SPOIL_LINK = Statement(
    update(LINKS)
    .where(
        LINKS.c.repository_id.in_(
            select(REPOSITORIES.c.id).where(REPOSITORIES.c.name == bindparam("the_name"))
        )
    )
    .values(sealed_key=b"no key")
)
SPOIL_MANIFEST = Statement(
    update(MANIFESTS)
    .where(MANIFESTS.c.image_id.in_(select(IMAGES.c.id).where(IMAGES.c.digest == bindparam("the_digest"))))
    .values(content=b"no manifest")
)


def closed_to(name: str) -> dict[str, Any]:
    """A statement of a key policy that keeps ECR from opening the content of repositories of a name."""
    arn = f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/{name}"
    return deny(
        "kms:Decrypt", Principal="*", Condition={"StringLike": {"kms:EncryptionContext:aws:ecr:arn": arn}}
    )


def find_stored(driver: InProcessDriver, content: bytes) -> StoredBlob:
    """The one blob of a content, as the server itself sees it."""

    def look(connection: Connection) -> list[StoredBlob]:
        return list_stored(connection, after=0, limit=1_000)

    stored_blobs: list[StoredBlob] = driver.call(driver.server.parts.scrubbing._database.scan, look)
    (found,) = (blob for blob in stored_blobs if str(blob.digest) == digest_of(content))
    return found


def is_whole(driver: InProcessDriver, content: bytes) -> bool:
    """Let the server read all of a blob for itself. Raises Unavailable where it cannot."""
    return driver.call(driver.server.parts.scrubbing._is_good, find_stored(driver, content))


def kms_error(error: ClientError) -> tuple[str, str]:
    told: Any = error.response
    return told["Error"]["Code"], told.get("kmsError", "")


def download_path(ecr: Any, name: str, digest: str) -> str:
    """Where a download URL leads on this server."""
    told = ecr.get_download_url_for_layer(repositoryName=name, layerDigest=digest)
    path: str = urlsplit(told["downloadUrl"]).path
    return path


def check_calls_of_ecr(ecr: Any, name: str, image: SmallImage, part: dict[str, Any], code: str) -> None:
    """Check what ECR's API tells of a closed key, of each call that opens or seals content. `part` was uploaded."""
    with pytest.raises(ClientError) as raised:  # of which the model knows no KmsException
        ecr.get_download_url_for_layer(repositoryName=name, layerDigest=digest_of(image.layer))
    assert kms_error(raised.value) == ("InvalidParameterException", "")
    upload, digests = {"uploadId": part["uploadId"]}, [digest_of(EMPTY)]
    next_part = part | {"partFirstByte": len(EMPTY), "partLastByte": 2 * len(EMPTY) - 1}
    for call, given in (
        (ecr.initiate_layer_upload, {}),
        (ecr.upload_layer_part, next_part),
        (ecr.complete_layer_upload, upload | {"layerDigests": digests}),
        (ecr.put_image, {"imageManifest": image.manifest().decode(), "imageTag": "v2"}),
    ):
        with pytest.raises(ClientError) as raised:
            call(repositoryName=name, **given)
        assert kms_error(raised.value) == ("KmsException", code), given


def test_what_is_pushed_is_pulled_on_both_faces_and_nothing_of_it_lies_in_clear(keys: KeyHouse) -> None:
    registry, image = Keyed(keys, "sealed/app", keys.key()), SmallImage.named("a layer of the sealed image")
    ecr = registry.ecr

    digest = registry.push(image, "v1")

    assert registry.pulled(image, "v1")
    assert registry.pulled(image, digest)
    layer = digest_of(image.layer)
    ranged = registry.call("GET", f"/blobs/{layer}", range="bytes=2-6")
    assert (ranged.status, ranged.body) == (206, image.layer[2:7])
    head = registry.call("HEAD", "/manifests/v1")
    assert (head.status, head.headers["docker-content-digest"]) == (200, digest)
    got = ecr.batch_get_image(repositoryName="sealed/app", imageIds=[{"imageTag": "v1"}])
    assert [each["imageManifest"] for each in got["images"]] == [image.manifest().decode()]
    (told,) = ecr.describe_images(repositoryName="sealed/app")["imageDetails"]
    assert (told["imageDigest"], told["imageTags"]) == (digest, ["v1"])
    url = ecr.get_download_url_for_layer(repositoryName="sealed/app", layerDigest=layer)["downloadUrl"]
    if isinstance(keys.driver, InProcessDriver):
        answer = keys.driver.http("GET", url.partition("localhost:5050")[2])
        assert answer.body == image.layer
        for content in stored(keys):
            assert b"sealed image" not in content
            assert image.manifest() not in content
    else:
        with urllib.request.urlopen(url) as response:
            assert response.read() == image.layer


def test_a_layer_comes_in_parts_on_both_faces(keys: KeyHouse) -> None:
    registry = Keyed(keys, "parts/app", keys.key())
    content = os.urandom(700_000)
    where = registry.start_upload()
    for first in (0, 300_000):
        answer = registry.call("PATCH", where, content[first : first + 300_000])
        assert answer.status == 202, answer
        where = answer.headers["location"].removeprefix("/v2/parts/app")
    answer = registry.call("PUT", f"{where}?digest={digest_of(content)}", content[600_000:])
    assert answer.status == 201, answer
    ecr, other = registry.ecr, os.urandom(100_000)
    begun = ecr.initiate_layer_upload(repositoryName="parts/app")
    names = {"repositoryName": "parts/app", "uploadId": begun["uploadId"]}
    ecr.upload_layer_part(**names, partFirstByte=0, partLastByte=len(other) - 1, layerPartBlob=other)
    done = ecr.complete_layer_upload(**names, layerDigests=[digest_of(other)])

    assert done["layerDigest"] == digest_of(other)
    for each in (content, other):
        assert registry.call("GET", f"/blobs/{digest_of(each)}").body == each
    ranged = registry.call("GET", f"/blobs/{digest_of(content)}", range="bytes=299990-600010")
    assert ranged.body == content[299_990:600_011]


@pytest.mark.parametrize("closed_by", ["disabled", "deleted", "revoked", "denied"])
def test_what_closes_the_key_closes_the_images_at_once(keys: KeyHouse, closed_by: str) -> None:
    kms, key, name = keys.root(), keys.key(), f"closed/{closed_by}"
    registry, image = Keyed(keys, name, key), SmallImage.named(f"an image, then {closed_by}")
    ecr, digest = registry.ecr, registry.push(image, "v1")
    layer, where = digest_of(image.layer), registry.start_upload()
    url = download_path(ecr, name, layer)
    assert keys.driver.http("GET", url).body == image.layer
    upload = ecr.initiate_layer_upload(repositoryName=name)["uploadId"]
    part = {"uploadId": upload, "partFirstByte": 0, "partLastByte": len(EMPTY) - 1, "layerPartBlob": EMPTY}
    ecr.upload_layer_part(repositoryName=name, **part)
    everything = {"Effect": "Allow", "Principal": "*", "Action": "kms:*", "Resource": "*"}
    code = {
        "disabled": "DisabledException",
        "deleted": "KMSInvalidStateException",
        "revoked": "AccessDeniedException",
        "denied": "AccessDeniedException",
    }[closed_by]

    match closed_by:
        case "disabled":
            kms.disable_key(KeyId=key)
        case "deleted":
            kms.schedule_key_deletion(KeyId=key)
        case "revoked":
            for grant in kms.list_grants(KeyId=key)["Grants"]:
                kms.revoke_grant(KeyId=key, GrantId=grant["GrantId"])
        case _:
            keys.put_policy(key, everything, {**everything, "Effect": "Deny", "Action": "kms:Decrypt"})

    for method, path in (
        ("GET", "/manifests/v1"),
        ("GET", f"/manifests/{digest}"),
        ("GET", f"/blobs/{layer}"),
        ("GET", f"/referrers/{digest}"),
        ("POST", "/blobs/uploads/"),
        ("PATCH", where),
        ("PUT", f"{where}?digest={digest_of(EMPTY)}"),
    ):
        status, told, message = error_of(registry.call(method, path, EMPTY if method != "GET" else b""))
        assert (status, told) == (403, "DENIED"), path
        assert "KMS" in message
    assert registry.call("HEAD", "/manifests/v1").status == 403
    ids = [{"imageTag": "v1"}, {"imageTag": "none"}]
    got = ecr.batch_get_image(repositoryName=name, imageIds=ids)
    assert got["images"] == []
    assert sorted(each["failureCode"] for each in got["failures"]) == ["ImageNotFound", "KmsError"]
    check_calls_of_ecr(ecr, name, image, part, code)
    assert keys.driver.http("GET", url).status == 403, "a download URL of before"
    assert len(ecr.describe_images(repositoryName=name)["imageDetails"]) == 1

    match closed_by:
        case "disabled":
            kms.enable_key(KeyId=key)
        case "deleted":
            kms.cancel_key_deletion(KeyId=key)
            kms.enable_key(KeyId=key)
        case "denied":
            keys.put_policy(key, everything)
        case _:
            return
    assert registry.pulled(image, "v1")
    assert keys.driver.http("GET", url).body == image.layer
    got = ecr.batch_get_image(repositoryName=name, imageIds=ids[:1])
    assert [each["imageManifest"] for each in got["images"]] == [image.manifest().decode()]


def test_two_repositories_under_a_key_share_a_blob_and_one_is_deleted(keys: KeyHouse) -> None:
    key, image = keys.key(), SmallImage.named("shared under one key")
    first, second = Keyed(keys, "shared/first", key), Keyed(keys, "shared/second", key)
    third = Keyed(keys, "shared/third", key)
    first.push(image, "v1")
    before = stored(keys)

    assert second.mount("shared/first", image.layer) == 201
    assert second.mount("shared/first", image.config) == 201
    second.push(image, "v1")
    third.push(image, "v1")
    if isinstance(keys.driver, InProcessDriver):
        assert len(stored(keys)) == len(before) + 2, "two manifests, and no blob"
    first.ecr.delete_repository(repositoryName="shared/first", force=True)
    if isinstance(keys.driver, InProcessDriver):
        keys.driver.collect(days=8)
    assert second.pulled(image, "v1")
    third.ecr.delete_repository(repositoryName="shared/third", force=True)
    assert second.pulled(image, "v1")


def test_nothing_is_shared_between_keys(keys: KeyHouse) -> None:
    key, image = keys.key(), SmallImage.named("not for others")
    source = Keyed(keys, "apart/source", key)
    source.push(image, "v1")
    for name, other in (("apart/other", keys.key()), ("apart/plain", None)):
        registry = Keyed(keys, name, other)
        assert registry.mount("apart/source", image.layer) == 202
        registry.push(image, "v1")
        fresh = SmallImage.named(f"only in {name}")
        registry.push(fresh, "v2")
        assert source.mount(name, fresh.layer) == 202
    keys.root().disable_key(KeyId=key)
    assert Keyed(keys, "apart/third", None).mount("apart/plain", image.layer) == 201
    assert error_of(source.call("GET", "/manifests/v1"))[0] == 403


def test_accounts_share_nothing_under_one_key(keys: KeyHouse) -> None:
    """A registry is one account's: nobody learns what another one has, and holds nothing that hangs on its grants."""
    everything = [allow("kms:*", Principal=account(each)) for each in (ACCOUNT, OTHER)]
    key, image = keys.key(*everything), SmallImage.named("of two accounts under one key")
    first = Keyed(keys, "accounts/app", key)
    second = Keyed(keys, "accounts/app", key, account_id=OTHER)
    first.push(image, "v1")
    before = len(stored(keys))

    assert second.mount("accounts/app", image.layer) == second.mount("", image.layer) == 202
    second.push(image, "v1")

    if isinstance(keys.driver, InProcessDriver):
        assert len(stored(keys)) == before + 3, "a manifest and two blobs"
    first.ecr.delete_repository(repositoryName="accounts/app", force=True)
    if isinstance(keys.driver, InProcessDriver):
        keys.driver.collect(days=8)
    assert second.pulled(image, "v1")


def test_who_pushes_what_others_hold_but_cannot_open_now_has_it_for_himself(keys: KeyHouse) -> None:
    """Grants are each repository's own: those of the first may be revoked while the key stays enabled."""
    kms, key, image = keys.root(), keys.key(), SmallImage.named("closed for one, open for the other")
    first = Keyed(keys, "own/first", key)
    first.push(image, "v1")
    for grant in kms.list_grants(KeyId=key)["Grants"]:
        kms.revoke_grant(KeyId=key, GrantId=grant["GrantId"])
    second = Keyed(keys, "own/second", key)

    assert second.mount("own/first", image.layer) == 202
    second.push(image, "v1")

    assert second.pulled(image, "v1")
    second.push(image, "v2")
    assert second.pulled(image, "v2")


def test_referrers_tell_their_annotations(keys: KeyHouse) -> None:
    registry, image = Keyed(keys, "referred/app", keys.key()), SmallImage.named("the subject")
    digest = registry.push(image, "v1")
    subject = {"mediaType": MANIFEST_TYPE, "digest": digest, "size": len(image.manifest())}
    named = registry.push(
        SmallImage.named("a signature"), "signature", subject=subject, annotations={"by": "whom"}
    )

    (found,) = json.loads(registry.call("GET", f"/referrers/{digest}").body)["manifests"]

    assert (found["digest"], found["annotations"]) == (named, {"by": "whom"})
    assert found["artifactType"] == CONFIG_TYPE


def test_a_lost_blob_is_healed_for_all_who_share_it(open_house: KeyHouse) -> None:
    driver, keys = open_house.inside, open_house
    key, image = keys.key(), SmallImage.named("lost and healed")
    first, second = Keyed(keys, "healed/first", key), Keyed(keys, "healed/second", key)
    first.push(image, "v1")
    assert second.mount("healed/first", image.layer) == 201
    driver.lose(image.layer)
    assert first.call("GET", f"/blobs/{digest_of(image.layer)}").status == 404

    second.push_blob(image.layer)

    assert first.pulled(image, "v1")
    assert second.call("GET", f"/blobs/{digest_of(image.layer)}").body == image.layer


def test_a_mount_says_of_a_blob_that_is_there_already_what_the_repository_has(open_house: KeyHouse) -> None:
    """A repository may have a blob of its own beside the one that others share, and that may be lost."""
    driver, keys = open_house.inside, open_house
    key, image = keys.key(), SmallImage.named("held before it is mounted")
    mine = allow("kms:*", Principal=account())
    first, second = Keyed(keys, "before/first", key), Keyed(keys, "before/second", key)
    first.push(image, "v1")
    keys.put_policy(key, mine, closed_to("before/first"))
    second.push(image, "v1")
    keys.put_policy(key, mine)
    assert second.mount("before/first", image.layer) == 201
    assert second.pulled(image, "v1")
    driver.lose(image.layer)
    first.push_blob(image.layer)
    assert first.pulled(image, "v1")

    assert second.mount("before/first", image.layer) == 202
    second.push_blob(image.layer)

    assert second.pulled(image, "v1")
    assert second.mount("before/first", image.layer) == 201


def test_who_may_generate_no_data_keys_pulls_and_pushes_nothing(keys: KeyHouse) -> None:
    """As in ECR: each push asks for kms:GenerateDataKey, each pull for kms:Decrypt."""
    key, image, name = keys.key(), SmallImage.named("pulled and not pushed"), "no/pushes"
    registry, mine = Keyed(keys, name, key), allow("kms:*", Principal=account())
    registry.push(image, "v1")
    where = registry.start_upload()
    begun = registry.ecr.initiate_layer_upload(repositoryName=name)["uploadId"]

    keys.put_policy(key, mine, deny("kms:GenerateDataKey*", Principal="*"))

    for method, path in (
        ("POST", "/blobs/uploads/"),
        ("PATCH", where),
        ("PUT", f"{where}?digest={digest_of(EMPTY)}"),
        ("PUT", "/manifests/v2"),
    ):
        content = image.manifest() if "manifests" in path else EMPTY
        answer = registry.call(method, path, content, content_type=MANIFEST_TYPE)
        assert error_of(answer)[:2] == (403, "DENIED"), path
        assert "kms:GenerateDataKey" in error_of(answer)[2]
    part = {"uploadId": begun, "partFirstByte": 0, "partLastByte": 1, "layerPartBlob": EMPTY}
    for call, given in (
        (registry.ecr.initiate_layer_upload, {}),
        (registry.ecr.upload_layer_part, part),
        (registry.ecr.put_image, {"imageManifest": image.manifest().decode(), "imageTag": "v2"}),
    ):
        with pytest.raises(ClientError) as raised:
            call(repositoryName=name, **given)
        assert kms_error(raised.value) == ("KmsException", "AccessDeniedException")
    assert registry.pulled(image, "v1")
    keys.put_policy(key, mine)
    registry.push(image, "v2")


def test_the_types_of_encryption_share_nothing_under_one_key(keys: KeyHouse) -> None:
    key, image = keys.key(), SmallImage.named("one layer or two")
    first, second = Keyed(keys, "types/one", key), Keyed(keys, "types/two", key, "KMS_DSSE")
    third = Keyed(keys, "types/three", key, "KMS_DSSE")
    first.push(image, "v1")
    before = len(stored(keys))

    assert second.mount("types/one", image.layer) == second.mount("", image.layer) == 202
    second.push(image, "v1")

    if isinstance(keys.driver, InProcessDriver):
        assert len(stored(keys)) == before + 3, "a manifest and two blobs"
    assert third.mount("types/two", image.layer) == third.mount("", image.config) == 201
    third.push(image, "v1")
    if isinstance(keys.driver, InProcessDriver):
        assert len(stored(keys)) == before + 4, "a manifest"
    for registry in (first, second, third):
        assert registry.pulled(image, "v1")


def test_a_source_that_cannot_be_read_keeps_no_mount_from_the_next_one(open_house: KeyHouse) -> None:
    driver, keys = open_house.inside, open_house
    key, image = keys.key(), SmallImage.named("spoilt in one place")
    first, second = Keyed(keys, "spoilt/first", key), Keyed(keys, "spoilt/second", key)
    target = Keyed(keys, "spoilt/third", key)
    first.push_blob(image.layer)
    assert second.mount("spoilt/first", image.layer) == 201

    def spoil(connection: Connection) -> int:
        return connection.execute(SPOIL_LINK, the_name="spoilt/first")

    assert driver.call(driver.server.parts.scrubbing._database.write, spoil) == 1

    assert target.mount("spoilt/first", image.layer) == 202
    assert target.mount("", image.layer) == 201
    assert target.call("GET", f"/blobs/{digest_of(image.layer)}").body == image.layer


def test_content_is_shared_and_read_through_whoever_is_open_however_many_are_closed(
    open_house: KeyHouse,
) -> None:
    driver, keys = open_house.inside, open_house
    key, layer = keys.key(), b"held by many, most of them closed"
    closed = [Keyed(keys, f"holders/closed-{number}", key) for number in range(12)]
    last = Keyed(keys, "holders/open", key)
    closed[0].push_blob(layer)
    for registry in (*closed[1:], last):
        assert registry.mount("holders/closed-0", layer) == 201
    keys.put_policy(key, allow("kms:*", Principal=account()), closed_to("holders/closed-*"))
    before = len(stored(keys))
    new = Keyed(keys, "holders/zz-new", key)

    new.push_blob(layer)

    assert len(stored(keys)) == before
    assert new.call("GET", f"/blobs/{digest_of(layer)}").body == layer
    assert is_whole(driver, layer)


def test_the_server_reads_for_itself_as_in_the_region_of_the_repository(open_house: KeyHouse) -> None:
    keys, layer = open_house, b"of one region"
    key = keys.key()
    Keyed(keys, "regional/app", key).push_blob(layer)
    elsewhere = {"StringNotEquals": {"aws:RequestedRegion": REGION}}

    keys.put_policy(
        key, allow("kms:*", Principal=account()), deny("kms:Decrypt", Principal="*", Condition=elsewhere)
    )

    assert is_whole(keys.inside, layer)


def test_an_image_whose_manifest_does_not_open_keeps_no_other_back(open_house: KeyHouse) -> None:
    driver, registry = open_house.inside, Keyed(open_house, "one/bad", open_house.key())
    good, bad = (SmallImage.named(f"a {kind} one") for kind in ("good", "bad"))
    registry.push(good, "good")
    spoilt = registry.push(bad, "bad")

    def spoil(connection: Connection) -> int:
        return connection.execute(SPOIL_MANIFEST, the_digest=spoilt)

    assert driver.call(driver.server.parts.scrubbing._database.write, spoil) == 1

    ids = [{"imageTag": "bad"}, {"imageTag": "good"}]
    got = registry.ecr.batch_get_image(repositoryName="one/bad", imageIds=ids)

    assert [each["imageManifest"] for each in got["images"]] == [good.manifest().decode()]
    (failure,) = got["failures"]
    assert (failure["failureCode"], failure["imageId"]) == (
        "KmsError",
        {"imageTag": "bad", "imageDigest": spoilt},
    )
