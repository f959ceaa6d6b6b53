"""What a row of the AWS face is: one operation, what it requires, how much body it takes, who handles it."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from openecr.domain.callers import Caller, RequestContext
from openecr.domain.decisions import Requirement
from openecr.web.aws.call import Handler, Parameters, Services
from openecr.web.aws.model import OperationModel, load_service

MIB = 1024 * 1024

Identify = Callable[[Services, RequestContext, Parameters], Awaitable[Caller]]
"""Finds out who calls an operation that is not signed, from what it was given. Raises DomainError."""

Requires = Callable[[Caller, RequestContext, Parameters], Sequence[Requirement]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """An operation. `needs` are the input's members that `requires` reads: they are validated before the decision.

    With `identify` the call needs no signature, and where it has one the caller is all the same whom `identify` finds.
    """

    service: str
    name: str
    requires: Requires
    handler: Handler
    needs: frozenset[str] = frozenset()
    body_max_bytes: int = MIB
    identify: Identify | None = None

    @property
    def door(self) -> str:
        """Return the name under which outcomes are told."""
        return f"{self.service}:{self.name}"

    @property
    def model(self) -> OperationModel:
        """Return the operation's published model."""
        return load_service(self.service).operations[self.name]


def requires_nothing(caller: Caller, context: RequestContext, parameters: Parameters) -> list[Requirement]:
    """Ask for nothing: whoever is known may call."""
    del caller, context, parameters
    return []
