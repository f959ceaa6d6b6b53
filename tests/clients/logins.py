"""The logins of the programs that speak plain HTTP to `localhost`, each in its own way."""

from tests.clients.commands import Shell
from tests.requirements import require_tool
from tests.running import RunningServer


def log_in(shell: Shell, server: RunningServer, *programs: str, host: str = "") -> None:
    """Log programs in to a server as the user `AWS`, by another name of it if `host` says so."""
    host = host or server.host
    for program in programs:
        require_tool(program)
        if program == "regctl":
            shell.run("regctl", "registry", "set", "--tls", "disabled", "--skip-check", host)
        shell.run(*_command(program), host, stdin=server.password())


def _command(program: str) -> tuple[str, ...]:
    names = ("--username", "AWS", "--password-stdin")
    match program:
        case "crane":
            return ("crane", "auth", "login", *names)
        case "regctl":
            return ("regctl", "registry", "login", "--user", "AWS", "--pass-stdin")
        case "helm":
            return ("helm", "registry", "login", "--plain-http", *names)
        case "skopeo" | "podman" | "buildah":
            return (program, "login", "--tls-verify=false", *names)
        case _:
            return (program, "login", *names)
