"""Amazon's KMS, or a server that speaks its protocol, as the holder of the master keys.

A master key is a data key of KMS: drawn there, kept here encrypted under a key that never leaves KMS. Its encryption
context names what it is for and its number, so that one cannot stand for another, and policies can name it.

Source: AWS KMS API reference, GenerateDataKey and Decrypt.
"""

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError
from urllib3.exceptions import HTTPError

from openecr.adapters.keys.ring import MASTER_KEY_BYTES
from openecr.domain.errors import Unavailable
from openecr.ports.keys import KeyIsAnother, KeyRefused, NewMasterKey

T = TypeVar("T")

_PURPOSE = ("openecr:purpose", "master-key")
_NUMBER = "openecr:master-key"
_CONNECT_SECONDS = 5
_SILENCE_SECONDS = 10
_BROKEN = 500
_CONTEXT_MAX_CHARACTERS = 500
_ANOTHER_KEY = "IncorrectKeyException"
_PASSING = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "LimitExceededException",
        "RequestExpired",
        "RequestTimeout",
        "ServiceUnavailable",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)
"""Refusals that say nothing about the key: too many calls, a clock that is wrong, credentials that must be renewed."""

_SIGNATURE = "InvalidSignatureException"
_CLOCKS = ("Signature expired", "Signature not yet current")
"""What KMS says of a clock that is wrong; of a secret that is wrong it says something else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KmsOptions:
    """Which keys, and the way to them. None is botocore's ordinary search: variables, files, the machine's role.

    `key_ids` are ids, ARNs or aliases: the first draws master keys, all of them open. Whoever asks is answered within
    `call_seconds`, whatever the thread does; that ends with its socket, soon after.
    """

    key_ids: Sequence[str]
    endpoint: str | None = None
    region: str | None = None
    ca_file: Path | None = None
    call_seconds: float = 15


class AwsKms:
    """The `KeyService` port. Used in the event loop's thread; each call runs in a thread of its own."""

    def __init__(self, options: KmsOptions) -> None:
        """Raises ValueError where there is no region, say."""
        self._key_ids = tuple(options.key_ids)
        self._call_seconds = options.call_seconds
        try:
            self._client = _client(options)
        except (BotoCoreError, ValueError) as error:
            raise ValueError(_told(error)) from error

    async def generate(self, number: int) -> NewMasterKey:
        """Draw the master key of a number under the first key. Raises KeyRefused, Unavailable."""
        answer = await self._call(
            partial(
                self._client.generate_data_key,
                KeyId=self._key_ids[0],
                NumberOfBytes=MASTER_KEY_BYTES,
                EncryptionContext=_context(number),
            )
        )
        return NewMasterKey(_master_key(answer), bytes(answer["CiphertextBlob"]))

    async def decrypt(self, number: int, ciphertext: bytes) -> bytes:
        """Open the master key of a number, which one of our keys must have encrypted. Raises KeyRefused, Unavailable.

        KeyIsAnother says of all our keys that none of them has.
        Without the key's name KMS would open what anybody encrypted under a key that we may use.
        """
        refused: KeyRefused | None = None
        for key_id in self._key_ids:
            call = partial(
                self._client.decrypt,
                KeyId=key_id,
                CiphertextBlob=ciphertext,
                EncryptionContext=_context(number),
            )
            try:
                return _master_key(await self._call(call))
            except KeyIsAnother as error:
                refused = error
        raise refused or KeyRefused("no key is named")

    async def _call(self, call: Callable[[], Any]) -> Any:  # noqa: ANN401 -- botocore makes answers at run time
        """Raises KeyRefused, Unavailable."""
        try:
            async with asyncio.timeout(self._call_seconds):
                return await _in_a_thread(call)
        except TimeoutError as error:
            raise _out_of_reach(f"no answer within {self._call_seconds} s") from error
        except ClientError as error:
            raise _failure(error) from error
        except (BotoCoreError, HTTPError, OSError, ResponseParserError) as error:
            raise _out_of_reach(_told(error)) from error


def _client(options: KmsOptions) -> Any:  # noqa: ANN401 -- botocore makes its clients at run time
    session = botocore.session.get_session()
    # Published stubs know a literal for each service, and none of what the configuration takes.
    create: Any = session.create_client
    return create(
        "kms",
        region_name=options.region,
        endpoint_url=options.endpoint,
        verify=None if options.ca_file is None else str(options.ca_file),
        config=Config(
            connect_timeout=_CONNECT_SECONDS,
            read_timeout=_SILENCE_SECONDS,
            retries={"total_max_attempts": 1},  # ours is the next look
        ),
    )


def _context(number: int) -> dict[str, str]:
    return dict([_PURPOSE, (_NUMBER, str(number))])


def _master_key(answer: Any) -> bytes:  # noqa: ANN401 -- botocore makes answers at run time
    plaintext = bytes(answer["Plaintext"])
    if len(plaintext) != MASTER_KEY_BYTES:
        raise KeyRefused("what was opened is no master key")
    return plaintext


def _failure(error: ClientError) -> Exception:
    """Sort what KMS answered: what is neither broken nor about to pass is a no."""
    told = error.response.get("Error", {})
    code = str(told.get("Code", ""))
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    is_clock = code == _SIGNATURE and str(told.get("Message", "")).startswith(_CLOCKS)
    if code in _PASSING or is_clock or status >= _BROKEN or status == 0:
        return _out_of_reach(_told(error))
    return (KeyIsAnother if code == _ANOTHER_KEY else KeyRefused)(_told(error))


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:_CONTEXT_MAX_CHARACTERS]


def _out_of_reach(context: str) -> Unavailable:
    return Unavailable(message="The external KMS cannot be reached.", context=context)


async def _in_a_thread(call: Callable[[], T]) -> T:
    """Run a call that may hang in a daemon's thread: it holds up neither others nor the program's end."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def end(result: T | None, error: BaseException | None) -> None:
        if future.cancelled():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]  # there is one where there is no error

    def run() -> None:
        result, failure = None, None
        try:
            result = call()
        except Exception as error:  # noqa: BLE001 -- whoever waits hears of it
            failure = error
        try:
            loop.call_soon_threadsafe(end, result, failure)
        except RuntimeError:  # the loop is closed: nobody is left to hear
            return

    threading.Thread(target=run, name="external-kms", daemon=True).start()
    return await future
