"""Where the database and the keys are: what is taken, what is refused, and that a password is never shown."""

from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from openecr.cli.main import cli
from openecr.settings import SettingsError, load
from openecr.settings.database import database_url

SECRET = "hunter2"
KEY = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://", "postgresql://"),
        ("postgres://db", "postgres://db"),
        ("postgresql://u@db:5432/ecr", "postgresql://u@db:5432/ecr"),
        (f"postgresql://u:{SECRET}@db/ecr?sslmode=verify-full", "postgresql://u@db/ecr?sslmode=verify-full"),
        (f"postgresql://u@/ecr?password={SECRET}&host=/run/pg", "postgresql://u@/ecr?host=/run/pg"),
        (f"postgresql://u@db/e?sslpassword={SECRET}", "postgresql://u@db/e"),
        (f"postgresql://u:{SECRET}@[::1]:5432,db:1/ecr", "postgresql://u@[::1]:5432,db:1/ecr"),
    ],
)
def test_a_url_is_shown_without_its_secrets(url: str, shown: str) -> None:
    found = database_url(url)
    assert (found.text, str(found)) == (url, shown)
    assert SECRET not in repr(found)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        (f"mysql://u:{SECRET}@db", "such as postgresql://"),
        (f"u:{SECRET}@db", "such as postgresql://"),
        (f"postgresql://u:{SECRET}@x@db", "write @ in its user and password as %40"),
        (f"postgresql://u:{SECRET}#@db/ecr", "write # in it as %23"),
        (f"postgresql://u:{SECRET}/@db/ecr", "host and port are malformed"),
        (f"postgresql://u:{SECRET}@db:port/ecr", "host and port are malformed"),
        (f"postgresql://u:{SECRET}@db:70000/ecr", "host and port are malformed"),
        (f"postgresql://u:{SECRET}@/ecr?port=0", "host and port are malformed"),
        (f"postgresql://u:{SECRET}@[::1/ecr", "it is no URL"),
        (f"postgresql://u:{SECRET}@db/ecr?sslmode=on", "sslmode is one of disable, "),
        (f"postgresql://u:{SECRET}@db/ecr?sslmode", "it is no URL"),
        (f"postgresql://u:{SECRET}@db/e cr", "without spaces"),
        (f"postgresql://u:{SECRET}@db/{'x' * 2048}", "at most 2048 characters"),
    ],
)
def test_a_malformed_url_is_one_line_without_the_password(url: str, told: str) -> None:
    for where in ({"database": url}, {}):
        with pytest.raises(SettingsError) as refusal:
            load(where, {} if where else {"OPENECR_DATABASE": url})
        assert told in refusal.value.message
        assert SECRET not in refusal.value.message


@given(text=st.text(alphabet=st.characters(min_codepoint=1, max_codepoint=0x7F), max_size=40))
def test_no_password_that_a_url_may_hold_is_ever_shown(text: str) -> None:
    try:
        shown = str(database_url(f"postgresql://user:<{text}>@host/database"))
    except ValueError as error:
        shown = str(error)
    assert f"<{text}>" not in shown


def test_master_keys_come_from_the_environment_or_a_folder(tmp_path: Path) -> None:
    settings = load({"keys": "/k"}, {"OPENECR_MASTER_KEYS": f"1:{KEY},2:{KEY}"})
    assert (settings.keys, settings.master_keys) == (Path("/k"), (f"1:{KEY}", f"2:{KEY}"))
    assert KEY not in repr(settings)


@pytest.mark.parametrize(
    "keys", ["1", f"0:{KEY}", f"1:{KEY[:-1]}", f"1:{KEY.upper()}", f"1:{KEY},1:{KEY}", KEY]
)
def test_malformed_master_keys_are_one_line_without_them(keys: str) -> None:
    with pytest.raises(SettingsError, match="64 hexadecimal digits") as refusal:
        load({}, {"OPENECR_MASTER_KEYS": keys})
    assert KEY[:-1] not in refusal.value.message


def test_the_settings_in_force_are_shown_without_secrets(tmp_path: Path) -> None:
    secrets = {
        "OPENECR_DATABASE": f"postgresql://u:{SECRET}@db/ecr",
        "OPENECR_MASTER_KEYS": f"1:{KEY}",
        "OPENECR_DATA": str(tmp_path),
    }
    shown = CliRunner().invoke(cli, ["settings"], env=secrets).output
    assert 'database = "postgresql://u@db/ecr"' in shown
    assert SECRET not in shown
    assert KEY not in shown
