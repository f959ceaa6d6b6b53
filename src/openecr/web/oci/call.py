"""What a handler is given: the parts of the application that it may use, and one authorized request."""

import urllib.parse
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from openecr.application.authorization import Authorizer
from openecr.application.blobs import Blobs
from openecr.application.images import Images
from openecr.application.limits import Limits
from openecr.application.repositories import Repositories
from openecr.application.uploads import Uploads
from openecr.domain.callers import Caller, RequestContext
from openecr.domain.decisions import Grant
from openecr.domain.registries import RegistryId
from openecr.web.messages import Request, Response
from openecr.web.oci.errors import ProtocolError
from openecr.web.oci.paths import Target

QUERY_MAX_PARAMETERS = 64

Query = Mapping[str, list[str]]

_EMPTY_QUERY: Query = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The application, as far as this face needs it."""

    authorizer: Authorizer
    images: Images
    blobs: Blobs
    uploads: Uploads
    repositories: Repositories
    limits: Limits


@dataclass(slots=True, kw_only=True)  # not frozen: a frozen one takes three times as long to make
class Call:
    """An authorized request. `decided` is None only where the door requires nothing."""

    request: Request
    query: Query
    target: Target
    registry: RegistryId
    context: RequestContext
    caller: Caller
    decided: Grant | None

    @property
    def grant(self) -> Grant:
        """Return the proof that the row's requirement is met."""
        assert self.decided is not None, "the row requires nothing, so nothing was granted"
        return self.decided

    @property
    def name(self) -> str:
        """Return the repository's name."""
        return self.target.name

    def parameter(self, name: str) -> str | None:
        """Return the first value of a query parameter."""
        values = self.query.get(name)
        return values[0] if values else None


_NEVER_KEPT = frozenset({"last", "from"})
"""Where a page begins is compared; a source of no possible name is none, and its mount begins an upload."""

Handler = Callable[[Services, Call], Awaitable[Response]]


def parse_query(query: str) -> Query:
    """Return the parameters of a raw query.

    Raises ProtocolError for more of them than any request needs, and for texts that no database keeps.
    """
    if not query:
        return _EMPTY_QUERY
    try:
        parsed = urllib.parse.parse_qs(query, keep_blank_values=True, max_num_fields=QUERY_MAX_PARAMETERS)
    except ValueError:
        raise ProtocolError(
            code="UNSUPPORTED", status=414, message=f"More than {QUERY_MAX_PARAMETERS} query parameters"
        ) from None
    if any("\0" in text for name, texts in parsed.items() if name not in _NEVER_KEPT for text in texts):
        raise ProtocolError(code="UNSUPPORTED", status=400, message="The query contains the character NUL")
    return parsed
