"""The composition root: the only place, beside the commands and the test kit, that names adapters."""

from openecr.server.composition import Parts, compose
from openecr.server.serving import Started, run

__all__ = ["Parts", "Started", "compose", "run"]
