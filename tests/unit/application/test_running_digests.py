"""Running digests only save time: they are used where they stand exactly where the upload stands."""

from dataclasses import replace

from openecr.application.running_digests import UPLOADS_KEPT, RunningDigest, RunningDigests
from openecr.domain.blobs import Upload
from openecr.domain.digests import Digest

UPLOAD = Upload(id="1", repository_id=1, owner="1", received_bytes=0, epoch=0, started_at=0, expires_at=1)


def digest_of(content: bytes) -> RunningDigest:
    digest = RunningDigest()
    digest.update(content)
    return digest


def test_a_digest_is_of_all_the_bytes_that_came() -> None:
    digest = RunningDigest.of_nothing(["sha512", "md5"])
    for piece in (b"ab", b"", b"c"):
        digest.update(piece)

    assert digest.digests() == {Digest.of(b"abc"), Digest.of(b"abc", "sha512")}
    assert digest.received_bytes == 3


def test_sha256_is_always_computed() -> None:
    assert RunningDigest.of_nothing(["sha512"]).digests() >= {Digest.of(b"")}


def test_an_upload_goes_on_where_it_stood() -> None:
    digests = RunningDigests()
    digests.keep("1", digest_of(b"ab"))

    found = digests.at(replace(UPLOAD, received_bytes=2))

    assert found is not None
    found.update(b"c")
    assert found.digests() == {Digest.of(b"abc")}


def test_a_request_that_fails_spoils_nothing() -> None:
    digests = RunningDigests()
    digests.keep("1", digest_of(b"ab"))
    failed = digests.at(replace(UPLOAD, received_bytes=2))
    assert failed is not None
    failed.update(b"spoilt")

    again = digests.at(replace(UPLOAD, received_bytes=2))

    assert again is not None
    assert again.digests() == {Digest.of(b"ab")}


def test_an_upload_that_went_on_elsewhere_is_read_again() -> None:
    digests = RunningDigests()
    digests.keep("1", digest_of(b"ab"))

    assert digests.at(replace(UPLOAD, received_bytes=3)) is None
    assert digests.at(replace(UPLOAD, id="2", received_bytes=2)) is None


def test_an_upload_of_nothing_begins_anew_wherever_it_is() -> None:
    found = RunningDigests().at(UPLOAD)

    assert found is not None
    assert found.digests() == {Digest.of(b"")}


def test_what_has_ended_is_forgotten() -> None:
    digests = RunningDigests()
    digests.keep("1", digest_of(b"ab"))
    digests.forget("1")
    digests.forget("1")

    assert digests.at(replace(UPLOAD, received_bytes=2)) is None


def test_only_the_uploads_used_last_are_remembered() -> None:
    digests = RunningDigests()
    for number in range(UPLOADS_KEPT):
        digests.keep(str(number), digest_of(b"ab"))
    digests.keep("0", digest_of(b"abc"))
    digests.keep("one more", digest_of(b"ab"))

    assert digests.at(replace(UPLOAD, id="0", received_bytes=3)) is not None
    assert digests.at(replace(UPLOAD, id="1", received_bytes=2)) is None
    assert digests.at(replace(UPLOAD, id="2", received_bytes=2)) is not None
