"""Settings: what wins over what, and how a mistake is told."""

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openecr.domain.registries import RegistryId
from openecr.settings import SETTINGS, Settings, SettingsError, default_data, load

DEFAULT = RegistryId(account_id="000000000000", region="us-east-1")


def read(folder: Path, toml: str = "", *, environ: dict[str, str] | None = None, **flags: Any) -> Settings:
    config = folder / "openecr.toml"
    config.write_text(toml)
    return load(
        {"config": str(config), **flags},
        environ or {},
        limits=("layer_parts", "manifest_max_bytes"),
        at_least_one=("manifest_max_bytes",),
    )


def refusal(folder: Path, toml: str = "", *, environ: dict[str, str] | None = None, **flags: Any) -> str:
    with pytest.raises(SettingsError) as caught:
        read(folder, toml, environ=environ, **flags)
    assert "\n" not in caught.value.message
    return caught.value.message


def test_without_anything_given_the_defaults_hold(tmp_path: Path) -> None:
    settings = load({}, {"XDG_DATA_HOME": str(tmp_path)})
    assert settings.data == tmp_path / "openecr"
    assert (settings.host, settings.port, settings.regions) == ("127.0.0.1", 5050, ("us-east-1",))
    assert settings.account is None
    assert settings.shutdown_seconds == 30
    assert settings.endpoint_url == "http://127.0.0.1:5050"
    assert settings.registry_host(DEFAULT) == "localhost:5050"


def test_a_relative_data_home_is_ignored() -> None:
    assert default_data({"XDG_DATA_HOME": "here"}) == Path.home() / ".local" / "share" / "openecr"


def test_flags_win_over_variables_over_the_file_over_defaults(tmp_path: Path) -> None:
    toml = "port = 1\nshutdown_seconds = 1\nlog_level = 'debug'\n"
    environ = {"OPENECR_PORT": "2", "OPENECR_SHUTDOWN_SECONDS": "2"}
    settings = read(tmp_path, toml, environ=environ, port="3")
    assert (settings.port, settings.shutdown_seconds, settings.log_level) == (3, 2, "debug")
    assert settings.access_log is False


def test_the_file_in_the_data_folder_is_read_where_it_is_there(tmp_path: Path) -> None:
    assert load({"data": str(tmp_path)}, {}).port == 5050
    (tmp_path / "openecr.toml").write_text("port = 6000")
    assert load({"data": str(tmp_path)}, {}).port == 6000
    assert load({}, {"OPENECR_DATA": str(tmp_path)}).port == 6000


def test_a_file_that_was_named_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"cannot read .*absent\.toml"):
        load({"config": str(tmp_path / "absent.toml")}, {})
    with pytest.raises(SettingsError, match="cannot read"):
        load({}, {"OPENECR_CONFIG": str(tmp_path / "absent.toml")})


def test_lists_come_from_repeated_flags_commas_and_arrays(tmp_path: Path) -> None:
    wanted = ("eu-west-1", "us-east-1")
    assert read(tmp_path, "regions = ['eu-west-1', 'us-east-1']").regions == wanted
    assert read(tmp_path, environ={"OPENECR_REGIONS": "eu-west-1, us-east-1"}).regions == wanted
    assert read(tmp_path, regions=wanted).regions == wanted
    assert read(tmp_path, "regions = ['eu-west-1']", regions=()).regions == ("eu-west-1",)


@pytest.mark.parametrize(("text", "value"), [("true", True), ("false", False), ("1", True), ("0", False)])
def test_switches_are_words_in_variables(tmp_path: Path, text: str, value: bool) -> None:
    assert read(tmp_path, environ={"OPENECR_ACCESS_LOG": text}).access_log is value


def test_a_switch_is_turned_off_by_its_flag(tmp_path: Path) -> None:
    assert read(tmp_path, "access_log = true", access_log=False).access_log is False


def test_an_empty_variable_was_not_given(tmp_path: Path) -> None:
    environ = {"OPENECR_PORT": "", "OPENECR_REGIONS": "", "OPENECR_LAYER_PARTS": "", "OPENECR_DATA": ""}
    settings = read(tmp_path, environ={**environ, "XDG_DATA_HOME": "/x"})
    assert (settings.port, settings.regions, settings.limits) == (5050, ("us-east-1",), {})
    assert settings.data == Path("/x/openecr")


@pytest.mark.parametrize("text", ["", " ", "\0"])
def test_an_empty_path_does_not_mean_the_folder_of_the_moment(tmp_path: Path, text: str) -> None:
    assert "no path" in refusal(tmp_path, f"data = {json.dumps(text)}")


def test_paths_in_the_file_start_at_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    settings = read(tmp_path, "data = 'data'\ntls_cert = 'c.pem'\ntls_key = '/k.pem'")
    assert settings.data == tmp_path / "data"
    assert (settings.tls_cert, settings.tls_key) == (tmp_path / "c.pem", Path("/k.pem"))
    assert read(tmp_path, "data = 'data'", data="flag").data == Path("/flag")


def test_nested_keys_and_limits_are_read(tmp_path: Path) -> None:
    toml = "[storage]\nmin_free_bytes = 7\nmin_free_ratio = 0.5\n[limits]\nlayer_parts = 3\n"
    settings = read(tmp_path, toml, environ={"OPENECR_MANIFEST_MAX_BYTES": "9"})
    assert (settings.storage_min_free_bytes, settings.storage_min_free_ratio) == (7, 0.5)
    assert settings.limits == {"layer_parts": 3, "manifest_max_bytes": 9}


@pytest.mark.parametrize(
    ("toml", "told"),
    [
        ("prot = 1", "unknown setting prot; did you mean port?"),
        ("[storage]\nmin_free_byte = 1", "did you mean storage.min_free_bytes?"),
        ("[limits]\nlayer_part = 1", "did you mean limits.layer_parts?"),
        ("limits = 3", "expected a table"),
        ("port = 'http'", "'http' is not a whole number"),
        ("port = 70000", "70000 is not a whole number <= 65535"),
        ("port = true", "True is not a whole number"),
        ("regions = 'us-east-1'", "'us-east-1' is not a list of texts"),
        ("regions = []", "at least one region"),
        ("regions = ['us-east-1', 'us-east-1']", "each once"),
        ("regions = ['Nowhere']", "at least one region"),
        ("account = '123'", "twelve digits"),
        ("domains = ['UPPER']", "no host name"),
        ("domains = []", "at least one domain"),
        ("vanity_names = ['a:5050']", "no host name"),
        ("repository_host = 'a b'", "auto, full, or a host name"),
        ("host = 'example.org'", "an IP address or localhost"),
        ("tls = 'on'", "'on' is none of off, auto"),
        ("access_log = 'yes'", "'yes' is not true or false"),
        ("trusted_proxies = ['10.0.0.1/8']", "no network"),
        ("shutdown_seconds = 0", "0 is not a whole number >= 1"),
        ("storage = { min_free_ratio = 1.0 }", "1.0 is not a number < 1.0"),
        ("[limits]\nlayer_parts = -1", "negative or too large"),
        ("[limits]\nlayer_parts = 1.5", "1.5 is no whole number"),
        ("[limits]\nmanifest_max_bytes = 0", "limits.manifest_max_bytes in"),
        ("[limits]\nmanifest_max_bytes = 0", ": 0 is less than 1"),
        ("port = ", "is not TOML"),
        ("tls_cert = 'a'", "go together"),
        ("tls = 'auto'\ntls_cert = 'a'\ntls_key = 'b'", "makes its own certificate"),
        ("host = '0.0.0.0'", "plain HTTP is not served on 0.0.0.0"),
        ("host = '::'", "plain HTTP is not served on ::"),
    ],
)
def test_a_mistake_is_one_line_that_says_where_and_what(tmp_path: Path, toml: str, told: str) -> None:
    assert told in refusal(tmp_path, toml)


def test_a_mistake_names_the_variable_or_flag_it_came_from(tmp_path: Path) -> None:
    assert refusal(tmp_path, environ={"OPENECR_PORT": "x"}) == "OPENECR_PORT: 'x' is not a whole number"
    assert refusal(tmp_path, port="x") == "--port: 'x' is not a whole number"
    assert refusal(tmp_path, environ={"OPENECR_LAYER_PARTS": "x"}).startswith("OPENECR_LAYER_PARTS: ")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost"])
def test_plain_http_is_served_on_loopback(tmp_path: Path, host: str) -> None:
    assert read(tmp_path, host=host).scheme == "http"


def test_plain_http_off_loopback_must_be_forced(tmp_path: Path) -> None:
    assert read(tmp_path, host="192.0.2.1", force_http=True).endpoint_url == "http://192.0.2.1:5050"
    assert read(tmp_path, host="192.0.2.1", tls="auto").endpoint_url == "https://192.0.2.1:5050"


def test_the_endpoint_is_one_that_this_machine_can_reach(tmp_path: Path) -> None:
    assert read(tmp_path, host="0.0.0.0", tls="auto").endpoint_url == "https://127.0.0.1:5050"
    assert read(tmp_path, host="::", tls="auto").endpoint_url == "https://[::1]:5050"
    own: dict[str, Any] = {"tls_cert": "/c", "tls_key": "/k"}
    assert read(tmp_path, **own).endpoint_url == "https://localhost:5050"
    assert read(tmp_path, **own, vanity_names=("ecr.example",)).endpoint_url == "https://ecr.example:5050"


def test_the_default_registry_is_told_as_the_operator_chose(tmp_path: Path) -> None:
    full = "000000000000.dkr.ecr.us-east-1.localhost"
    assert read(tmp_path, repository_host="full").registry_host(DEFAULT) == f"{full}:5050"
    assert read(tmp_path, repository_host="full", tls="auto", port="443").registry_host(DEFAULT) == full
    named = read(tmp_path, repository_host="ecr.example:80", vanity_names=("other.example",))
    assert named.registry_host(DEFAULT) == "ecr.example:80"
    assert named.plain_names == ("other.example", "ecr.example")


@given(text=st.text(max_size=30), name=st.sampled_from([setting.name for setting in SETTINGS]))
def test_any_text_for_any_setting_is_taken_or_refused_in_one_line(text: str, name: str) -> None:
    told = ""
    try:
        load({name: text, "config": "/dev/null"}, {"XDG_DATA_HOME": "/nowhere"})
    except SettingsError as error:
        told = error.message
    assert "\n" not in told


def test_every_setting_has_one_row_and_one_field() -> None:
    rows = [setting.name for setting in SETTINGS]
    assert rows == [field.name for field in fields(Settings) if field.name != "limits"]
