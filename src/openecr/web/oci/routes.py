"""Every door of the registry face, one row each: what it is called, what it requires, how much body it takes.

The pipeline reads the row, so no handler can forget the check. `tests/golden/oci_doors.txt` lists the same.
"""

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from openecr.domain.decisions import AuditedCall, Mode, Requirement
from openecr.domain.registries import RegistryId
from openecr.web.messages import Request
from openecr.web.oci import actions, blobs, catalog, events, manifests, referrers, tags, uploads
from openecr.web.oci.call import Handler, Query
from openecr.web.oci.errors import ProtocolError
from openecr.web.oci.paths import Endpoint, Target


class Scope(enum.Enum):
    """What a door's actions are asked of."""

    NOTHING = "nothing"
    REPOSITORY = "repository"
    EVERY_REPOSITORY = "repository/*"


class BodyBound(enum.Enum):
    """How much body a door takes; each is a field of the limits."""

    NOTHING = "nothing"
    MANIFEST = "manifest_max_bytes"
    LAYER = "layer_max_bytes"


Condition = Callable[[Request, Query], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A row. Of the rows of one method and endpoint the first whose condition holds is taken.

    `source_actions` are asked of another repository by the handler, which goes another way where they are denied.
    `audited` is how the audit trail calls it; None: it tells nothing of it.
    """

    door: str
    method: str
    endpoint: Endpoint
    handler: Handler
    actions: tuple[str, ...] = ()
    mode: Mode = Mode.ALL_OF
    scope: Scope = Scope.REPOSITORY
    source_actions: tuple[str, ...] = ()
    body: BodyBound = BodyBound.NOTHING
    condition: Condition | None = None
    audited: AuditedCall | None = None

    def requirement(self, registry: RegistryId, target: Target) -> Requirement | None:
        """Return what the caller must be allowed, or None for a door that asks only who is there."""
        if self.scope is Scope.NOTHING:
            return None
        name = target.name if self.scope is Scope.REPOSITORY else "*"
        return Requirement(actions=self.actions, registry=registry, repository_name=name, mode=self.mode)


def _mounts(request: Request, query: Query) -> bool:
    del request
    return "mount" in query


def _names_digest(request: Request, query: Query) -> bool:
    del request
    return "digest" in query


def _has_body(request: Request, query: Query) -> bool:
    del query
    return request.content_length != 0


ROUTES = (
    Route(
        door="GET manifest",
        audited=events.BATCH_GET_IMAGE,
        method="GET",
        endpoint=Endpoint.MANIFEST,
        handler=manifests.get_manifest,
        actions=(actions.BATCH_GET_IMAGE,),
    ),
    Route(
        door="HEAD manifest",
        audited=events.BATCH_GET_IMAGE,
        method="HEAD",
        endpoint=Endpoint.MANIFEST,
        handler=manifests.head_manifest,
        actions=(actions.BATCH_GET_IMAGE,),
    ),
    Route(
        door="PUT manifest",
        audited=events.PUT_IMAGE,
        method="PUT",
        endpoint=Endpoint.MANIFEST,
        handler=manifests.put_manifest,
        actions=(actions.PUT_IMAGE,),
        body=BodyBound.MANIFEST,
    ),
    Route(
        door="DELETE manifest",
        audited=events.DELETE_IMAGE,
        method="DELETE",
        endpoint=Endpoint.MANIFEST,
        handler=manifests.delete_manifest,
        actions=(actions.BATCH_DELETE_IMAGE,),
    ),
    Route(
        door="GET blob",
        audited=events.GET_LAYER,
        method="GET",
        endpoint=Endpoint.BLOB,
        handler=blobs.get_blob,
        actions=(actions.GET_LAYER,),
    ),
    Route(
        door="HEAD blob",
        audited=events.CHECK_LAYER,
        method="HEAD",
        endpoint=Endpoint.BLOB,
        handler=blobs.head_blob,
        actions=(actions.BATCH_CHECK, actions.GET_LAYER),
        mode=Mode.ANY_OF,
    ),
    Route(
        door="DELETE blob",
        audited=events.DELETE_LAYER,
        method="DELETE",
        endpoint=Endpoint.BLOB,
        handler=blobs.delete_blob,
        actions=(actions.BATCH_DELETE_IMAGE,),
    ),
    Route(
        door="POST upload, mount",
        audited=events.MOUNT_LAYER,
        method="POST",
        endpoint=Endpoint.UPLOADS,
        handler=uploads.mount,
        actions=(actions.INITIATE_UPLOAD, actions.COMPLETE_UPLOAD),
        source_actions=actions.MOUNT_SOURCE,
        condition=_mounts,
    ),
    Route(
        door="POST upload, at once",
        audited=events.UPLOAD_AT_ONCE,
        method="POST",
        endpoint=Endpoint.UPLOADS,
        handler=uploads.upload_at_once,
        actions=(actions.INITIATE_UPLOAD, actions.UPLOAD_PART, actions.COMPLETE_UPLOAD),
        body=BodyBound.LAYER,
        condition=_names_digest,
    ),
    Route(
        door="POST upload",
        audited=events.INITIATE_UPLOAD,
        method="POST",
        endpoint=Endpoint.UPLOADS,
        handler=uploads.start_upload,
        actions=(actions.INITIATE_UPLOAD,),
    ),
    Route(
        door="GET upload",
        audited=events.UPLOAD_STATUS,
        method="GET",
        endpoint=Endpoint.UPLOAD,
        handler=uploads.upload_status,
        actions=(actions.UPLOAD_PART,),
    ),
    Route(
        door="PATCH upload",
        audited=events.UPLOAD_PART,
        method="PATCH",
        endpoint=Endpoint.UPLOAD,
        handler=uploads.append_part,
        actions=(actions.UPLOAD_PART,),
        body=BodyBound.LAYER,
    ),
    Route(
        door="PUT upload, with a body",
        audited=events.COMPLETE_UPLOAD,
        method="PUT",
        endpoint=Endpoint.UPLOAD,
        handler=uploads.finish_upload,
        actions=(actions.UPLOAD_PART, actions.COMPLETE_UPLOAD),
        body=BodyBound.LAYER,
        condition=_has_body,
    ),
    Route(
        door="PUT upload",
        audited=events.COMPLETE_UPLOAD,
        method="PUT",
        endpoint=Endpoint.UPLOAD,
        handler=uploads.finish_upload,
        actions=(actions.COMPLETE_UPLOAD,),
    ),
    Route(
        door="DELETE upload",
        audited=events.UPLOAD_CANCELLED,
        method="DELETE",
        endpoint=Endpoint.UPLOAD,
        handler=uploads.cancel_upload,
        actions=(actions.UPLOAD_PART,),
    ),
    Route(
        door="GET tags",
        audited=events.LIST_IMAGES,
        method="GET",
        endpoint=Endpoint.TAGS,
        handler=tags.list_tags,
        actions=(actions.LIST_IMAGES,),
    ),
    Route(
        door="GET referrers",
        audited=events.LIST_REFERRERS,
        method="GET",
        endpoint=Endpoint.REFERRERS,
        handler=referrers.list_referrers,
        actions=(actions.BATCH_GET_IMAGE,),
    ),
    Route(
        door="GET catalog",
        audited=events.DESCRIBE_REPOSITORIES,
        method="GET",
        endpoint=Endpoint.CATALOG,
        handler=catalog.list_repositories,
        actions=(actions.DESCRIBE_REPOSITORIES,),
        scope=Scope.EVERY_REPOSITORY,
    ),
    Route(door="GET ping", method="GET", endpoint=Endpoint.PING, handler=catalog.ping, scope=Scope.NOTHING),
    Route(door="HEAD ping", method="HEAD", endpoint=Endpoint.PING, handler=catalog.ping, scope=Scope.NOTHING),
)


def _index(routes: tuple[Route, ...]) -> Mapping[tuple[str, Endpoint], tuple[Route, ...]]:
    rows: dict[tuple[str, Endpoint], list[Route]] = {}
    for route in routes:
        rows.setdefault((route.method, route.endpoint), []).append(route)
    return {key: tuple(found) for key, found in rows.items()}


_ROWS = _index(ROUTES)


def find_route(request: Request, target: Target | None, query: Query) -> Route:
    """Return the row for a request. Raises ProtocolError: 404 for no endpoint's path, 405 for another method."""
    if target is None:
        raise ProtocolError(code="UNSUPPORTED", status=404, message="The registry has no such endpoint")
    for route in _ROWS.get((request.method, target.endpoint), ()):
        if route.condition is None or route.condition(request, query):
            return route
    methods = sorted({route.method for route in ROUTES if route.endpoint is target.endpoint})
    raise ProtocolError(
        code="UNSUPPORTED",
        status=405,
        message="The operation is unsupported.",
        headers=(("allow", ", ".join(methods)),),
    )
