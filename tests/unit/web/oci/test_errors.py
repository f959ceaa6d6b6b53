"""The one table from errors to codes and statuses."""

import json
from collections.abc import Iterator

import pytest

from openecr.domain import errors
from openecr.web.oci.errors import API_VERSION, ERRORS, ProtocolError, refusal, row_of

CODES = {
    *("BLOB_UNKNOWN", "BLOB_UPLOAD_INVALID", "BLOB_UPLOAD_UNKNOWN", "DENIED", "DIGEST_INVALID"),
    *("MANIFEST_BLOB_UNKNOWN", "MANIFEST_INVALID", "MANIFEST_UNKNOWN", "NAME_INVALID", "NAME_UNKNOWN"),
    *("SIZE_INVALID", "TAG_INVALID", "TOOMANYREQUESTS", "UNAUTHORIZED", "UNAVAILABLE", "UNSUPPORTED"),
}


def _subclasses(kind: type[Exception]) -> Iterator[type[Exception]]:
    for subclass in kind.__subclasses__():
        yield subclass
        yield from _subclasses(subclass)


def _kinds() -> set[type[Exception]]:
    found = {*_subclasses(errors.DomainError), errors.Unavailable, *_subclasses(errors.Unavailable)}
    return {kind for kind in found if kind.__module__.startswith("openecr.domain.")}


def test_every_error_has_a_row_and_every_row_an_error() -> None:
    assert set(ERRORS) == _kinds()


def test_every_row_speaks_the_protocol() -> None:
    assert {row.code for row in ERRORS.values()} <= CODES
    assert all(400 <= row.status < 500 or row.status == 503 for row in ERRORS.values())


def test_a_specific_row_precedes_its_base() -> None:
    assert row_of(errors.StorageFull()).status == 403
    assert row_of(errors.Unavailable(message="storage")).status == 503


def test_an_error_is_told_as_docker_reads_it() -> None:
    response = refusal(
        errors.RepositoryNotFound(repository_name="app", registry_id="123456789012"), [("x-more", "1")]
    )

    assert response.status == 404
    assert response.headers == (API_VERSION, ("content-type", "application/json"), ("x-more", "1"))
    assert isinstance(response.body, bytes)
    assert json.loads(response.body) == {
        "errors": [
            {
                "code": "NAME_UNKNOWN",
                "message": "The repository with name 'app' does not exist "
                "in the registry with id '123456789012'",
            }
        ]
    }


def test_a_challenge_is_plain_text() -> None:
    response = refusal(errors.TokenMissing())

    assert (response.status, response.body) == (401, b"Not Authorized")


def test_a_bad_manifest_says_why() -> None:
    response = refusal(errors.InvalidManifest(detail="no config"))

    assert isinstance(response.body, bytes)
    assert json.loads(response.body)["errors"][0]["detail"] == "no config"


@pytest.mark.parametrize("status", [404, 405, 414, 416])
def test_the_protocols_own_errors_carry_their_status_and_headers(status: int) -> None:
    response = refusal(
        ProtocolError(code="UNSUPPORTED", status=status, message="no", headers=(("allow", "GET"),))
    )

    assert response.status == status
    assert ("allow", "GET") in response.headers
