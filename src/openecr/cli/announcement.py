"""What the operator is told once the server answers. The secret goes to a terminal only."""

import shlex
import sys

import click

from openecr import __version__
from openecr.adapters.tls import trust_hints
from openecr.server import Started
from openecr.settings import default_data


def announce(started: Started) -> None:
    """Print what was started and how to use it."""
    stream = sys.stderr if started.settings.audit_stream == "-" else sys.stdout  # that one is for the events
    click.echo("\n".join(lines(started, secret=stream.isatty())), file=stream)
    stream.flush()


def lines(started: Started, *, secret: bool) -> list[str]:
    """Return the announcement. `secret`: a new key's secret may be shown."""
    settings, default = started.settings, started.default
    others = f"<account>.dkr.ecr.<region>.{settings.domains[0]}{settings.port_suffix}"
    told = [
        f"OpenECR {__version__} at {settings.endpoint_url}",
        f"  data folder      {settings.data}",
        f"  default account  {default.account_id}",
        f"  regions          {', '.join(settings.regions)}",
        f"  registry         {started.registry_host} (others: {others})",
        f"  access key       {started.root_key.access_key_id}, kept in {started.environment_file}",
    ]
    if secret and started.root_key.is_new:
        told.append(f"  secret           {started.root_key.secret} (shown this once)")
    if started.ca_file is not None:
        told.append(f"  local CA         {started.ca_file}; to trust it:")
        told += [f"    {hint}" for hint in trust_hints(started.ca_file, [started.registry_host])]
    told.append(f'For AWS clients:   eval "$({_env_command(started)})"')
    return told


def _env_command(started: Started) -> str:
    data = started.settings.data
    if data == default_data({}):
        return "openecr env"
    return f"openecr env --data {shlex.quote(str(data))}"
