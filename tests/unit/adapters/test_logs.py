"""What is logged is structured and tells no secret."""

import json
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openecr.adapters.logs import REDACTED, redact

SECRET = "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY00"
SIGNATURE = "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"


def told(**event: Any) -> str:
    return json.dumps(redact(None, "info", event), default=repr)


@pytest.mark.parametrize(
    "name",
    ["secret", "secret_access_key", "password", "token_text", "authorization", "Authorization", "cookie",
     "x-amz-security-token", "sealed_secret", "credential", "signature"],
)  # fmt: skip
def test_values_with_a_secret_name_are_left_out(name: str) -> None:
    assert SECRET not in told(**{name: SECRET})
    assert SECRET not in told(headers={name: SECRET})
    assert SECRET not in told(headers=[{name: [SECRET]}])
    assert SECRET not in told(**{name: SECRET.encode()})


@pytest.mark.parametrize(
    "text",
    [
        f"Basic {SECRET}",
        f"basic {SECRET}==",
        f"Bearer {SECRET}",
        f"Authorization: AWS4-HMAC-SHA256 Credential=AKIA/20300101, Signature={SIGNATURE}",
        f"GET /?Action=GetCallerIdentity&X-Amz-Signature={SIGNATURE}&X-Amz-Date=20300101T000000Z",
        f"https://localhost/?X-Amz-Security-Token={SECRET}",
        f"/layers/{SECRET}",
        f"/v2/?token={SECRET} HTTP/1.1",
        f"/?sig={SECRET}",
    ],
)
def test_secrets_inside_texts_are_cut_out(text: str) -> None:
    for shown in (told(event=text), told(path=text), told(error=ValueError(text)), told(exception=text)):
        assert SECRET not in shown
        assert SIGNATURE not in shown
        assert REDACTED in shown


def test_what_is_no_secret_stays() -> None:
    event = {
        "event": "pulled team/app:v1",
        "access_key_id": "AKIAIOSFODNN7EXAMPLE",
        "authorization_token_seconds": 43200,
        "authorization_epoch": 7,
        "path": "/v2/team/app/manifests/v1",
        "token": None,
        "sizes": [1, 2],
    }
    assert redact(None, "info", dict(event)) == event


@given(
    st.recursive(
        st.none() | st.integers() | st.text() | st.binary(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=20,
    )
)
def test_any_value_passes(value: Any) -> None:
    redact(None, "info", {"event": value})


CONFIGURED = """
import logging, sys
import structlog
from openecr.adapters.logs import configure_logging
configure_logging(log_format=sys.argv[1], level="info")
structlog.contextvars.bind_contextvars(request_id="r-1")
log = structlog.get_logger("openecr.here")
log.debug("too detailed")
hidden = sys.argv[2]  # from outside: a traceback shows the program's own lines
log.info("said", path="/v2/", token=hidden)
logging.getLogger("other").warning("Basic %s", "A" * 20)
try:
    raise ValueError(f"password={hidden} ?token={hidden}")
except ValueError:
    log.exception("failed")
"""


def run_configured(log_format: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", CONFIGURED, log_format, "hidden-away"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == ""
    return done.stderr


@pytest.mark.parametrize("log_format", ["json", "auto"])
def test_json_lines_hold_one_document_each(log_format: str) -> None:
    said, foreign, failed = [json.loads(line) for line in run_configured(log_format).splitlines()]
    assert said["event"] == "said"
    assert (said["level"], said["request_id"], said["token"]) == ("info", "r-1", REDACTED)
    assert (foreign["event"], foreign["logger"]) == (f"Basic {REDACTED}", "other")
    assert "ValueError" in failed["exception"]
    assert "hidden-away" not in failed["exception"]


def test_the_console_form_is_readable_and_as_discreet() -> None:
    written = run_configured("console")
    assert "said" in written
    assert "request_id=r-1" in written
    assert "hidden-away" not in written
