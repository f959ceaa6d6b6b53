"""The composition root: the only place, beside the commands and the test kit, that names adapters."""

from openecr.server.composition import Parts, compose
from openecr.server.copying import copy
from openecr.server.serving import Started, run
from openecr.server.working import run_worker

__all__ = ["Parts", "Started", "compose", "copy", "run", "run_worker"]
