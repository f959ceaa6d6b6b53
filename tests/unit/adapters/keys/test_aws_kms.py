"""What an external KMS says no to, and what says nothing about a key."""

import socket

import pytest
from botocore.exceptions import ClientError

from openecr.adapters.keys import AwsKms, KmsOptions
from openecr.adapters.keys.aws_kms import _failure
from openecr.domain.errors import Unavailable
from openecr.ports.keys import KeyRefused


@pytest.mark.parametrize(
    ("code", "message", "status", "kind"),
    [
        ("DisabledException", "the key is disabled", 400, KeyRefused),
        ("AccessDeniedException", "no", 400, KeyRefused),
        ("InvalidSignatureException", "The request signature we calculated does not match", 403, KeyRefused),
        ("InvalidSignatureException", "Signature expired: 20261129T000000Z is now earlier", 403, Unavailable),
        ("InvalidSignatureException", "Signature not yet current: 20261129T000000Z", 403, Unavailable),
        ("ThrottlingException", "Rate exceeded", 400, Unavailable),
        ("KMSInternalException", "", 500, Unavailable),
    ],
)
def test_a_wrong_clock_and_what_passes_are_no_refusals(
    code: str, message: str, status: int, kind: type[Exception]
) -> None:
    answer = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    assert type(_failure(ClientError(answer, "Decrypt"))) is kind  # type: ignore[arg-type]  # a part of one


async def test_a_kms_that_takes_calls_and_never_answers_is_given_up_in_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Before the thread has ended, which waits for its socket."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        options = KmsOptions(key_ids=("key",), endpoint=endpoint, region="us-east-1", call_seconds=0.05)
        service = AwsKms(options)

        with pytest.raises(Unavailable) as raised:
            await service.decrypt(1, b"sealed")

    assert raised.value.context == "no answer within 0.05 s"
