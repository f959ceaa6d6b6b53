"""Client programs run as a person would run them, with what they printed in every failure."""

import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.requirements import search_path
from tests.running import plain_environment

COMMAND_SECONDS = 100.0
AWS_CLI_1 = str(Path(sys.executable).with_name("aws"))
"""Of the locked development tools."""
AWS_CLI_2 = "/usr/bin/aws"
"""Of Debian and Ubuntu."""


class Shell:
    """Runs programs with a home folder of their own, so that no login of one test is seen by another."""

    def __init__(
        self, home: Path, environment: Mapping[str, str] | None = None, *, wrapper: Sequence[str] = ()
    ) -> None:
        """Use `home` for every file that a client keeps, and `environment` beside the plain one.

        `wrapper` is a command that runs another one, in a namespace for example.
        """
        self.wrapper = tuple(wrapper)
        home.mkdir(parents=True, exist_ok=True)
        self.home = home
        self.environment = {
            **plain_environment(),
            **(environment or {}),
            "PATH": search_path(),
            "HOME": str(home),
            "XDG_CONFIG_HOME": str(home / "config"),
            "XDG_RUNTIME_DIR": str(home),
            "DOCKER_CONFIG": str(home / "docker"),
            "REGISTRY_AUTH_FILE": str(home / "auth.json"),
        }

    def with_environment(self, **variables: str) -> "Shell":
        """Return the same shell with other variables."""
        return Shell(self.home, {**self.environment, **variables}, wrapper=self.wrapper)

    def run(self, *command: str, stdin: str = "") -> str:
        """Run a program that must succeed; gives what it printed to its standard output."""
        answer = self._call(command, stdin)
        said = f"$ {shlex.join(command)}\n[{answer.returncode}]\n{answer.stdout}\n{answer.stderr}"
        assert answer.returncode == 0, said
        return answer.stdout

    def fail(self, *command: str, stdin: str = "") -> str:
        """Run a program that must not succeed; gives all that it printed."""
        answer = self._call(command, stdin)
        said = f"$ {shlex.join(command)}\n[{answer.returncode}]\n{answer.stdout}\n{answer.stderr}"
        assert answer.returncode != 0, said
        return answer.stdout + answer.stderr

    def call(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a program, however it ends."""
        return self._call(command, "")

    def _call(self, command: tuple[str, ...], stdin: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            (*self.wrapper, *command),
            input=stdin,
            env=self.environment,
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
