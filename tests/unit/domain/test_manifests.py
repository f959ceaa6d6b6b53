"""Manifests: what is stored, what is refused, and that nothing else can happen."""

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openecr.domain.digests import Digest
from openecr.domain.errors import InvalidManifest, ManifestTooLarge
from openecr.domain.manifests import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
    DOCKER_SCHEMA_1,
    DOCKER_SIGNED_SCHEMA_1,
    MANIFEST_MAX_BYTES,
    OCI_INDEX,
    OCI_MANIFEST,
    REFERENCES_MAX,
    Manifest,
    annotations_of,
    parse,
)

CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"


def digest(number: int) -> str:
    return f"sha256:{number:064x}"


def descriptor(number: int, media_type: str = LAYER, **more: Any) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest(number), "size": number, **more}


def image(**more: Any) -> dict[str, Any]:
    return {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor(1, CONFIG),
        "layers": [descriptor(10), descriptor(20)],
        **more,
    }


def index(**more: Any) -> dict[str, Any]:
    return {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [descriptor(3, OCI_MANIFEST), descriptor(4, OCI_INDEX)],
        **more,
    }


def without(document: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name not in names}


def parsed(document: object, declared: str | None = None) -> Manifest:
    return parse(json.dumps(document).encode(), declared)


def refused(document: object, declared: str | None = None) -> str:
    with pytest.raises(InvalidManifest) as caught:
        parsed(document, declared)
    return caught.value.detail


# --- what is read ----------------------------------------------------------------------------------------------------


def test_an_image_names_its_config_and_then_its_layers() -> None:
    manifest = parsed(image())
    assert [str(blob.digest) for blob in manifest.blobs] == [digest(1), digest(10), digest(20)]
    assert [blob.media_type for blob in manifest.blobs] == [CONFIG, LAYER, LAYER]
    assert (manifest.media_type, manifest.size_bytes, manifest.is_index) == (OCI_MANIFEST, 31, False)
    assert (manifest.children, manifest.subject, manifest.annotations) == ((), None, {})


def test_an_index_names_its_children() -> None:
    manifest = parsed(index())
    assert [str(child.digest) for child in manifest.children] == [digest(3), digest(4)]
    assert (manifest.blobs, manifest.is_index) == ((), True)


def test_a_repeated_layer_counts_as_often_as_it_is_listed() -> None:
    assert parsed(image(layers=[descriptor(10), descriptor(10)])).size_bytes == 21


def test_the_size_of_an_image_is_never_more_than_a_column_holds() -> None:
    huge = [descriptor(10) | {"size": 2**63 - 1}] * 3
    assert parsed(image(layers=huge)).size_bytes == 2**63 - 1


@pytest.mark.parametrize("media_type", [DOCKER_MANIFEST, OCI_MANIFEST])
def test_images_of_docker_and_oci_are_alike(media_type: str) -> None:
    assert parsed(image(mediaType=media_type)).media_type == media_type


@pytest.mark.parametrize("media_type", [DOCKER_LIST, OCI_INDEX])
def test_indexes_of_docker_and_oci_are_alike(media_type: str) -> None:
    assert parsed(index(mediaType=media_type)).media_type == media_type


@pytest.mark.parametrize(
    "document",
    [
        pytest.param(image(layers=[]), id="no layers"),
        pytest.param(image(layers=None), id="null for layers"),
        pytest.param(without(image(), "layers"), id="layers left out"),
        pytest.param(index(manifests=[]), id="no manifests"),
        pytest.param(index(manifests=None), id="null for manifests"),
        pytest.param(image(unknown={"a": [1, None, 1.5e300]}), id="unknown members"),
        pytest.param(image(config=descriptor(1, CONFIG, data="e30=")), id="embedded data"),
        pytest.param(image(config=descriptor(1, CONFIG, annotations={"a": "b"})), id="annotated descriptor"),
        pytest.param(
            image(annotations=None, subject=None, artifactType=None), id="null for what is optional"
        ),
        pytest.param(index(manifests=[descriptor(3, OCI_MANIFEST, platform={"os": "linux"})]), id="platform"),
        pytest.param(image(layers=[descriptor(1, "application/x-made-up")]), id="unknown layer type"),
        pytest.param(image(layers=[descriptor(0)]), id="empty layer"),
        pytest.param(image(layers=[descriptor(5) | {"digest": "sha512:" + "ab" * 64}]), id="sha512"),
    ],
)
def test_what_the_specification_allows_passes(document: dict[str, Any]) -> None:
    assert parsed(document).media_type in {OCI_MANIFEST, OCI_INDEX}


def test_layers_that_are_fetched_elsewhere_are_known_by_type_and_address() -> None:
    layers = [
        descriptor(10, FOREIGN, urls=["https://example.com/a"]),
        descriptor(
            20, "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd", urls=["https://e.com/b"]
        ),
        descriptor(30, FOREIGN),
        descriptor(40, FOREIGN, urls=[]),
        descriptor(50, LAYER, urls=["https://example.com/c"]),
    ]
    assert [blob.is_foreign for blob in parsed(image(layers=layers)).blobs] == [
        False,
        True,
        True,
        *[False] * 3,
    ]


@pytest.mark.parametrize(
    ("document", "artifact_type"),
    [
        (image(), CONFIG),
        (image(artifactType="application/x-sbom"), "application/x-sbom"),
        (image(artifactType=""), CONFIG),
        (index(), None),
        (index(artifactType="application/x-sbom"), "application/x-sbom"),
    ],
)
def test_the_artifact_type_is_the_manifests_own_or_its_configs(
    document: dict[str, Any], artifact_type: str | None
) -> None:
    assert parsed(document).artifact_type == artifact_type


@pytest.mark.parametrize("document", [image(), index()])
def test_a_subject_and_annotations_are_read_from_images_and_indexes(document: dict[str, Any]) -> None:
    document |= {"subject": descriptor(9, OCI_MANIFEST), "annotations": {"a": "b\0\U0001f40b", "": ""}}
    manifest = parsed(document)
    assert manifest.subject == Digest.parse(digest(9))
    assert manifest.annotations == document["annotations"]
    assert annotations_of(json.dumps(document).encode()) == document["annotations"]


# --- which type it is ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "declared", "expected"),
    [
        (image(), OCI_MANIFEST, OCI_MANIFEST),
        (image(), None, OCI_MANIFEST),
        (image(), "", OCI_MANIFEST),
        (image(mediaType=DOCKER_MANIFEST), None, DOCKER_MANIFEST),
        (without(image(), "mediaType"), DOCKER_MANIFEST, DOCKER_MANIFEST),
        (without(image(), "mediaType"), None, OCI_MANIFEST),
        (without(index(), "mediaType"), DOCKER_LIST, DOCKER_LIST),
        (without(index(), "mediaType"), None, OCI_INDEX),
    ],
)
def test_the_type_is_what_was_declared_else_the_bodys_own_else_what_it_looks_like(
    document: dict[str, Any], declared: str | None, expected: str
) -> None:
    assert parsed(document, declared).media_type == expected


@pytest.mark.parametrize(
    ("document", "declared", "detail"),
    [
        (image(), DOCKER_MANIFEST, f"mediaType is '{OCI_MANIFEST}' but '{DOCKER_MANIFEST}' was declared"),
        (image(mediaType="application/json"), None, "the media type 'application/json' is not supported"),
        (without(image(), "mediaType"), "text/plain", "the media type 'text/plain' is not supported"),
        (
            image(mediaType=OCI_MANIFEST + "; a=b"),
            None,
            f"the media type '{OCI_MANIFEST}; a=b' is not supported",
        ),
        (image(mediaType="\ud800é"), None, "the media type '\\ud800\\xe9' is not supported"),
        (image(mediaType=5), None, "mediaType must be a string"),
        (without(image(), "mediaType", "layers"), None, "the media type cannot be told"),
        ({"schemaVersion": 2}, None, "the media type cannot be told"),
        (image(manifests=[]), None, "a manifest is either an image or an index"),
        (index(layers=[]), None, "a manifest is either an image or an index"),
        (index(config=descriptor(1)), OCI_INDEX, "a manifest is either an image or an index"),
        (image(fsLayers=[]), None, "a manifest is either an image or an index"),
        (without(index(), "manifests"), OCI_INDEX, "manifests is missing"),
        (without(image(), "mediaType"), OCI_INDEX, "manifests is missing"),
        (without(index(), "mediaType"), OCI_MANIFEST, "a descriptor in config is missing or no object"),
    ],
)
def test_a_type_that_is_unknown_or_contradicted_is_refused(
    document: dict[str, Any], declared: str | None, detail: str
) -> None:
    assert refused(document, declared) == detail


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "detail"),
    [
        (b"", "Expecting value"),
        (b"{", "Expecting property name"),
        (b"\xff{}", "can't decode byte"),
        (b"\xef\xbb\xbf{}", "BOM"),
        ("{}".encode("utf-16"), "can't decode byte"),
        (b"[]", "a manifest is a JSON object"),
        (b"null", "a manifest is a JSON object"),
        (b'{"a": 1, "b": 2, "a": 1}', "a key stands twice"),
        (b'{"a": [{"b": 1, "b": 1}]}', "a key stands twice"),
        (b'{"a": NaN}', "NaN is not JSON"),
        (b'{"a": -Infinity}', "-Infinity is not JSON"),
        (b'{"a": ' + b"9" * 5000 + b"}", "Exceeds the limit"),
        (b'{"a": 1} x', "Extra data"),
        (b'{"a": ' + b"[" * 64 + b"]" * 64 + b"}", "nested deeper than 64"),
        (b'{"a": ' + b"[" * 200_000 + b"]" * 200_000 + b"}", "recursion"),
        (b'{"a": ' + b'{"a":' * 70 + b"1" + b"}" * 71, "nested deeper than 64"),
    ],
)
def test_what_is_no_plain_json_object_is_refused(content: bytes, detail: str) -> None:
    with pytest.raises(InvalidManifest) as caught:
        parse(content, OCI_MANIFEST)
    assert detail in caught.value.detail
    assert "Invalid JSON syntax" in caught.value.message


def test_nesting_up_to_the_bound_passes() -> None:
    content = json.dumps(image(deep=0)).encode().replace(b'"deep": 0', b'"deep": ' + b"[" * 63 + b"]" * 63)
    assert parse(content, None).media_type == OCI_MANIFEST


@pytest.mark.parametrize("version", [None, 1, 3, "2", True, [2], 2.5])
def test_another_schema_version_is_refused(version: object) -> None:
    assert refused(image(schemaVersion=version)) == "schemaVersion must be 2"
    assert refused(index(schemaVersion=version)) == "schemaVersion must be 2"


@pytest.mark.parametrize(
    "changes",
    [
        {"digest": None},
        {"digest": 5},
        {"digest": "sha256:abc"},
        {"digest": digest(1).upper()},
        {"digest": "md5:" + "a" * 32},
        {"digest": digest(1) + "\n"},
        {"size": None},
        {"size": -1},
        {"size": 2**63},
        {"size": True},
        {"size": 1.0},
        {"size": "1"},
        {"mediaType": None},
        {"mediaType": ""},
        {"mediaType": 5},
        {"mediaType": "application/x; a=b"},
        {"mediaType": "application/x\n"},
        {"mediaType": "application/\0"},
        {"mediaType": "application/\ud800"},
        {"mediaType": "a/" + "b" * 254},
    ],
    ids=ascii,
)
def test_a_descriptor_without_digest_size_and_type_is_refused_wherever_it_stands(
    changes: dict[str, Any],
) -> None:
    broken = descriptor(5) | changes
    for document in (
        image(config=broken),
        image(layers=[descriptor(6), broken]),
        image(subject=broken),
        index(manifests=[broken]),
        index(subject=broken),
    ):
        assert re.search(r"in (config|layers|manifests|subject) (is|has)", refused(document))


@pytest.mark.parametrize(
    "changes", [{"config": None}, {"config": []}, {"layers": {}}, {"layers": "x"}, {"layers": [1]}]
)
def test_members_of_the_wrong_kind_are_refused(changes: dict[str, Any]) -> None:
    assert refused(image(**changes))


@pytest.mark.parametrize(
    "annotations", [[], "x", {"a": 1}, {"a": None}, {"a": {}}, {"a": "\ud800"}, {"\udfff": "a"}]
)
def test_annotations_that_are_not_strings_by_name_are_refused(annotations: object) -> None:
    assert refused(image(annotations=annotations)) == "annotations must be strings by name"


@pytest.mark.parametrize("artifact_type", [5, "a/b; c=d", "a\nb", "x" * 256])
def test_an_artifact_type_is_a_media_type(artifact_type: object) -> None:
    assert "artifactType" in refused(image(artifactType=artifact_type))


def test_layers_and_children_are_bounded() -> None:
    assert len(parsed(image(layers=[descriptor(1)] * REFERENCES_MAX)).blobs) == REFERENCES_MAX + 1
    assert (
        refused(image(layers=[descriptor(1)] * (REFERENCES_MAX + 1))) == "layers has more than 1000 entries"
    )
    assert refused(index(manifests=[descriptor(1)] * (REFERENCES_MAX + 1))) == (
        "manifests has more than 1000 entries"
    )
    with pytest.raises(InvalidManifest):
        parse(json.dumps(image()).encode(), None, max_references=1)


def test_size_is_bounded() -> None:
    content = json.dumps(image()).encode()
    full = content + b" " * (MANIFEST_MAX_BYTES - len(content))
    assert parse(full, None).media_type == OCI_MANIFEST
    with pytest.raises(ManifestTooLarge):
        parse(full + b" ", None)
    with pytest.raises(ManifestTooLarge):
        parse(content, None, max_bytes=len(content) - 1)


# --- schema 1 --------------------------------------------------------------------------------------------------------


def schema_1(**more: Any) -> dict[str, Any]:
    return {
        "schemaVersion": 1,
        "name": "a",
        "tag": "b",
        "fsLayers": [{"blobSum": digest(2)}, {"blobSum": digest(1)}, {"blobSum": digest(2)}],
        "history": [{"v1Compatibility": "{}"}],
        **more,
    }


def test_schema_1_names_layers_once_and_no_config() -> None:
    manifest = parsed(schema_1(), DOCKER_SCHEMA_1)
    assert [str(blob.digest) for blob in manifest.blobs] == [digest(2), digest(1)]
    assert (manifest.size_bytes, manifest.artifact_type, manifest.is_index) == (0, None, False)


def test_schema_1_is_recognized_by_its_layers_and_signatures() -> None:
    assert parsed(schema_1()).media_type == DOCKER_SCHEMA_1
    assert parsed(schema_1(signatures=[])).media_type == DOCKER_SIGNED_SCHEMA_1
    assert parsed(schema_1(), DOCKER_SIGNED_SCHEMA_1).media_type == DOCKER_SIGNED_SCHEMA_1


@pytest.mark.parametrize(
    "changes", [{"schemaVersion": 2}, {"fsLayers": [{}]}, {"fsLayers": [5]}, {"fsLayers": [{"blobSum": "x"}]}]
)
def test_schema_1_is_checked_too(changes: dict[str, Any]) -> None:
    assert refused(schema_1(**changes), DOCKER_SCHEMA_1)


# --- properties ------------------------------------------------------------------------------------------------------

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
MEMBERS = st.sampled_from(
    [
        "schemaVersion",
        "mediaType",
        "config",
        "layers",
        "manifests",
        "subject",
        "annotations",
        "artifactType",
        "fsLayers",
    ]
)
TYPES = st.none() | st.sampled_from([OCI_MANIFEST, OCI_INDEX, DOCKER_SCHEMA_1]) | st.text()


@given(st.binary(), TYPES)
def test_any_bytes_are_a_manifest_or_refused(content: bytes, declared: str | None) -> None:
    try:
        parse(content, declared)
    except (InvalidManifest, ManifestTooLarge) as error:
        error.message.encode()


@given(st.sampled_from([image(), index(), schema_1()]), st.dictionaries(MEMBERS, JSON_VALUES), TYPES)
def test_any_json_is_a_manifest_or_refused(
    document: dict[str, Any], changes: dict[str, Any], declared: str | None
) -> None:
    try:
        manifest = parsed(document | changes, declared)
    except InvalidManifest as error:
        error.detail.encode()
    else:
        assert manifest.media_type.isascii()
        texts = [blob.media_type for blob in manifest.blobs]
        texts += [*manifest.annotations, *manifest.annotations.values(), manifest.artifact_type or ""]
        for text in texts:
            text.encode()


@given(st.lists(st.integers(0, 2**40)), st.dictionaries(st.text(), st.text()))
def test_what_a_document_says_is_what_is_read(sizes: list[int], annotations: dict[str, str]) -> None:
    layers = [descriptor(number) | {"size": size} for number, size in enumerate(sizes)]
    manifest = parsed(image(layers=layers, annotations=annotations))
    assert manifest.size_bytes == 1 + sum(sizes)
    assert manifest.annotations == annotations
    assert [str(blob.digest) for blob in manifest.blobs[1:]] == [
        digest(number) for number in range(len(sizes))
    ]
