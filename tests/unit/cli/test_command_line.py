"""The command line where no server is needed."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from openecr import __version__
from openecr.adapters.data_folder import DataFolder
from openecr.adapters.env_file import ClientEnvironment, write_environment
from openecr.application.limits import AT_LEAST_ONE
from openecr.cli.main import cli
from tests.running import exported, free_port

KEY = ClientEnvironment(
    access_key_id="AKIAIOSFODNN7EXAMPLE",
    secret="it's a+secret/with $signs",
    region="eu-west-1",
    endpoint_url="https://127.0.0.1:5050",
    ca_bundle=Path("/some where/ca.pem"),
)


def run(*arguments: str, **environ: str) -> Result:
    clean = {name: None for name in os.environ if name.startswith(("OPENECR_", "AWS_"))}
    return CliRunner().invoke(cli, arguments, env={**clean, **environ})


def test_the_version_is_told() -> None:
    assert run("version").output.strip() == __version__
    assert __version__ in run("--version").output


def test_help_lists_every_command_without_loading_the_server() -> None:
    program = "import sys\nfrom openecr.cli.main import cli\ntry: cli(['--help'])\nexcept SystemExit: pass\n"
    program += "print([name for name in ('sqlalchemy', 'granian', 'botocore', 'cryptography') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    for command in ("serve", "env", "accounts", "doctor", "settings", "status", "stop", "version"):
        assert f"\n  {command} " in done.stdout
    assert done.stdout.endswith("[]\n")


def test_every_command_explains_itself() -> None:
    for name in cli.commands:
        assert run(name, "--help").exit_code == 0


@pytest.mark.parametrize("name", sorted(AT_LEAST_ONE))
def test_a_limit_with_which_nothing_works_is_refused(tmp_path: Path, name: str) -> None:
    data = ("--data", str(tmp_path))
    variable = f"OPENECR_{name.upper()}"

    result = run("settings", *data, **{variable: "0"})

    assert (result.exit_code, result.stderr) == (2, f"openecr: {variable}: '0' is less than 1\n")
    assert f"limits.{name} = 1\n" in run("settings", *data, **{variable: "1"}).stdout


def test_a_quota_may_be_nothing(tmp_path: Path) -> None:
    told = run(
        "settings", "--data", str(tmp_path), OPENECR_LINK_GRACE_SECONDS="0", OPENECR_TAGS_PER_IMAGE="0"
    )
    assert "limits.link_grace_seconds = 0\n" in told.stdout
    assert "limits.tags_per_image = 0\n" in told.stdout


def test_a_wrong_setting_is_one_line_and_status_2() -> None:
    for command in ("serve", "doctor", "settings", "env"):
        result = run(command, OPENECR_PORT="http")
        assert (result.exit_code, result.stdout) == (2, "")
        assert result.stderr == "openecr: OPENECR_PORT: 'http' is not a whole number\n"


def test_an_unknown_flag_is_status_2() -> None:
    assert run("serve", "--prot", "1").exit_code == 2


def test_settings_in_force_are_shown_as_toml_that_leads_to_the_same(tmp_path: Path) -> None:
    shown = run("settings", "--data", str(tmp_path), "--port", "6001", "--region", "eu-west-1").stdout
    config = tmp_path / "again.toml"
    config.write_text(shown)
    assert run("settings", "--config", str(config)).stdout == shown
    assert "port = 6001" in shown.splitlines()


def test_env_prints_what_a_shell_evaluates(tmp_path: Path) -> None:
    write_environment(tmp_path, KEY)
    result = run("env", "--data", str(tmp_path))
    assert result.exit_code == 0
    assert exported(result.stdout) == {**KEY.variables(), "AWS_DEFAULT_REGION": "eu-west-1"}
    script = f'{result.stdout}\nprintf "%s" "$AWS_SECRET_ACCESS_KEY${{AWS_PROFILE-}}${{AWS_SESSION_TOKEN-}}"'
    environ = {"AWS_PROFILE": "work", "AWS_SESSION_TOKEN": "old", "PATH": os.environ["PATH"]}
    done = subprocess.run(["sh", "-euc", script], env=environ, capture_output=True, text=True, check=True)
    assert done.stdout == KEY.secret


def test_env_before_the_first_start_says_what_to_do(tmp_path: Path) -> None:
    result = run("env", "--data", str(tmp_path / "none"))
    assert (result.exit_code, result.stdout) == (1, "")
    assert "openecr serve" in result.stderr


@pytest.mark.parametrize("command", ["status", "stop"])
def test_a_server_that_does_not_run_is_told(tmp_path: Path, command: str) -> None:
    result = run(command, "--data", str(tmp_path))
    assert result.exit_code == 1
    assert result.stderr == f"openecr: no server runs on {tmp_path}\n"


@pytest.mark.parametrize("arguments", [("create", "1" * 12), ("list",), ("rotate-key", "0" * 12)])
def test_accounts_of_a_folder_that_was_never_served_are_refused(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    result = run("accounts", *arguments, "--data", str(tmp_path / "none"))
    assert result.exit_code == 1
    assert "no server was ever started" in result.stderr
    assert not (tmp_path / "none").exists()


def doctor(data: Path, *arguments: str, **environ: str) -> Result:
    port = str(free_port())
    return run(
        "doctor", "--data", str(data), "--port", port, "--storage-min-free-bytes", "0", *arguments, **environ
    )


def test_the_doctor_finds_nothing_wrong_with_a_fresh_machine(tmp_path: Path) -> None:
    result = doctor(tmp_path / "data", "--storage-min-free-ratio", "0")
    assert result.exit_code == 0, result.output
    assert "problem" not in result.stdout
    assert "is free" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--storage-min-free-bytes", "9000000000000000"), "uploads are refused below"),
        (("--repository-host", "absent.invalid"), "names do not resolve: absent.invalid"),
        (
            ("--tls-cert", "/absent.pem", "--tls-key", "/absent.key"),
            "/absent.pem and /absent.key are missing",
        ),
        (("--host", "192.0.2.1", "--force-http"), "cannot listen on 192.0.2.1"),
    ],
)
def test_the_doctor_tells_a_problem_and_its_mend(
    tmp_path: Path, arguments: tuple[str, ...], told: str
) -> None:
    result = doctor(tmp_path / "data", *arguments)
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    (at,) = [number for number, line in enumerate(lines) if told in line]
    assert lines[at].startswith("problem")
    assert "mend: " in lines[at + 1]


def test_the_doctor_sees_what_others_may_read(tmp_path: Path) -> None:
    DataFolder.acquire(tmp_path).release()
    write_environment(tmp_path, KEY).chmod(0o644)
    result = doctor(tmp_path)
    assert result.exit_code == 1
    assert f"problem  others may read {tmp_path}/env" in result.stdout
    assert f"chmod 600 {tmp_path}/env" in result.stdout


def test_the_doctor_warns_of_a_folder_of_something_else(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").touch()
    assert f"problem  {tmp_path} holds other things" in doctor(tmp_path).stdout


def test_the_doctor_misses_the_master_key_of_a_database(tmp_path: Path) -> None:
    DataFolder.acquire(tmp_path).release()
    (tmp_path / "metadata.sqlite").touch()
    result = doctor(tmp_path)
    assert "holds no master key" in result.stdout
    assert result.exit_code == 1


def test_settings_shown_are_data(tmp_path: Path) -> None:
    def value(text: str) -> Any:
        return json.loads(text.partition(" = ")[2])

    shown = run("settings", "--data", str(tmp_path), "--vanity-name", "a.example").stdout.splitlines()
    assert value(next(line for line in shown if line.startswith("vanity_names"))) == ["a.example"]
    assert shlex.quote(str(tmp_path)) in next(line for line in shown if line.startswith("data"))
