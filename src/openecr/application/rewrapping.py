"""Sealing anew, under the master key that seals, what the database holds under others. No blob is touched.

Each row is replaced only where it still holds the bytes that were read, so it may be changed meanwhile, removed, or
sealed by another run. Servers open either form: sealed bytes name their master key.

By itself a run replaces what older keys have sealed, and nothing that a newer one has: a process that was forgotten
with an older key to seal with would undo everybody else's rotation. Going back takes an operator's word.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import msgspec
import structlog

from openecr.application.accounts import SECRET_PURPOSE
from openecr.application.accounts import associated_data as of_secret
from openecr.application.data_keys import BLOB_PURPOSE, UPLOAD_PURPOSE, blob_context
from openecr.application.key_ring_proof import PROOF_PURPOSE
from openecr.application.kms.materials import PURPOSE as MATERIAL_PURPOSE
from openecr.application.kms.materials import associated_data as of_material
from openecr.application.sessions import ROW_PURPOSE
from openecr.domain.digests import Digest
from openecr.domain.errors import Unavailable
from openecr.domain.registries import RegistryId
from openecr.ports.keys import ServerKeyRing, master_key_number
from openecr.store import sealed_rows, server_state
from openecr.store.connections import Connection
from openecr.store.database import Database
from openecr.store.sealed_rows import SealedColumn, SealedRow

_LOG = structlog.get_logger(__name__)

STEP_ROWS = 200
_PROOF = "server_state.value"


@dataclass(frozen=True, slots=True)
class _Kind:
    """How a column is sealed: for what, and with which associated data, made of a row's key and facts."""

    column: SealedColumn
    purpose: str
    associated: Callable[..., bytes]


def _of_secret(access_key_id: str, account_id: str) -> bytes:
    return of_secret(account_id, access_key_id)


def _of_material(key_id: str, material_id: str, registry_id: str) -> bytes:
    return of_material(RegistryId.parse(registry_id), key_id, material_id)


def _of_blob(blob_id: int, digest: str, header: bytes) -> bytes:
    del blob_id
    return blob_context(Digest.parse(digest), header)


def _of_id(row_id: str) -> bytes:
    return row_id.encode()


KINDS = (
    _Kind(sealed_rows.ACCESS_KEY_SECRETS, SECRET_PURPOSE, _of_secret),
    _Kind(sealed_rows.KMS_KEY_MATERIALS, MATERIAL_PURPOSE, _of_material),
    _Kind(sealed_rows.SESSIONS, ROW_PURPOSE, _of_id),
    _Kind(sealed_rows.BLOB_KEYS, BLOB_PURPOSE, _of_blob),
    _Kind(sealed_rows.UPLOAD_KEYS, UPLOAD_PURPOSE, _of_id),
)


@dataclass(slots=True, kw_only=True)
class RewrapReport:
    """What was done until now: `kind` and `after` say where it goes on; `number` is the master key that seals.

    `is_asked`: an operator has asked for the run, which may go back to an older key.
    """

    number: int
    is_asked: bool = False
    kind: int = 0
    after: list[str | int] = field(default_factory=list[str | int])
    looked: int = 0
    rewrapped: int = 0
    unopened: int = 0
    is_done: bool = False


class Rewrapping:
    """Walks through what the key ring has sealed."""

    def __init__(self, *, database: Database, keys: ServerKeyRing) -> None:
        self._database = database
        self._keys = keys

    async def ask(self) -> None:
        """Have the next run seal everything under the key that seals here. Raises Unavailable."""
        number = str(self._keys.sealing_number)
        await self._database.write(partial(server_state.put, name=server_state.REWRAP_UNDER, value=number))

    async def resumed(self, payload: Mapping[str, object]) -> RewrapReport:
        """Return the report to go on with: an interrupted one, or a new one where another key is to seal by now.

        Raises Unavailable while the ring is closed, and where it lacks the key that was asked for.
        """
        asked = await self._database.read(partial(server_state.find, name=server_state.REWRAP_UNDER))
        number = self._keys.sealing_number if asked is None else int(asked)
        if number not in self._keys.numbers:
            raise Unavailable(
                message="The server's keys cannot be used at the moment. Try again later.",
                context=f"master key {number}, which is to seal, is not known here: bring it back, or run "
                "`openecr keys rewrap` again, which seals under the key that seals now",
            )
        fresh = RewrapReport(number=number, is_asked=asked is not None)
        if not payload or payload.get("is_done") or payload.get("number") != number:
            return fresh
        report = msgspec.convert(payload, RewrapReport)
        return report if report.is_asked == fresh.is_asked else fresh

    async def step(self, report: RewrapReport) -> bool:
        """Seal some rows anew; tell whether there may be more. Raises Unavailable."""
        if report.kind >= len(KINDS):
            await self._rewrap_proof(report)
            await self._forget_word(report)
            return False
        kind = KINDS[report.kind]
        after = tuple(report.after) or kind.column.first
        found = await self._database.scan(partial(kind.column.list_after, place=after, limit=STEP_ROWS))
        report.looked += len(found)
        fresh = [
            (row, sealed) for row in found if (sealed := self._sealed_anew(kind, row, report)) is not None
        ]
        if fresh:
            report.rewrapped += await self._database.write(partial(_replace, column=kind.column, rows=fresh))
        if len(found) == STEP_ROWS:
            report.after = list(found[-1].place)
        else:
            report.kind, report.after = report.kind + 1, []
        return True

    async def count(self) -> dict[str, dict[int, int]]:
        """Tell by column how many rows are sealed under the master key of each number. Reads, in steps."""
        counts: dict[str, dict[int, int]] = {}
        for kind in KINDS:
            counted = counts[kind.column.name] = Counter[int]()
            after = kind.column.first
            while found := await self._database.scan(
                partial(kind.column.list_after, place=after, limit=STEP_ROWS)
            ):
                counted.update(master_key_number(row.sealed) for row in found)
                after = found[-1].place
        proof = await self._find_proof()
        counts[_PROOF] = {} if proof is None else {master_key_number(bytes.fromhex(proof)): 1}
        return counts

    def _sealed_anew(self, kind: _Kind, row: SealedRow, report: RewrapReport) -> bytes | None:
        """Return the same under the key that seals; None where it is that already, or cannot be opened."""
        associated = kind.associated(*row.place, *row.facts)
        return self._resealed(kind.purpose, row.sealed, associated, report, f"{kind.column.name} {row.place}")

    def _resealed(
        self, purpose: str, sealed: bytes, associated: bytes, report: RewrapReport, where: str
    ) -> bytes | None:
        if self._stays(master_key_number(sealed), report):
            return None
        try:
            plaintext = self._keys.unseal(purpose, sealed, associated=associated)
        except ValueError:
            report.unopened += 1
            _LOG.error("sealed by no master key that is known here", row=where)
            return None
        return self._keys.seal_under(report.number, purpose, plaintext, associated=associated)

    def _stays(self, sealed_under: int, report: RewrapReport) -> bool:
        """Tell whether what a key has sealed is to stay so; what no known key has sealed is looked at, and told."""
        is_newer = sealed_under > report.number and sealed_under in self._keys.numbers
        return sealed_under == report.number or (is_newer and not report.is_asked)

    async def _rewrap_proof(self, report: RewrapReport) -> None:
        """Seal anew what each start proves its ring with."""
        seen = await self._find_proof()
        if seen is None:
            return
        report.looked += 1
        fresh = self._resealed(PROOF_PURPOSE, bytes.fromhex(seen), b"", report, server_state.KEY_RING_PROOF)
        if fresh is None:
            return
        replace = partial(
            server_state.replace, name=server_state.KEY_RING_PROOF, value=fresh.hex(), seen=seen
        )
        report.rewrapped += await self._database.write(replace)

    async def _forget_word(self, report: RewrapReport) -> None:
        """It counts for one run. Another one that was given meanwhile stays."""

        def unit(connection: Connection) -> None:
            if server_state.find(connection, server_state.REWRAP_UNDER) == str(report.number):
                server_state.remove(connection, server_state.REWRAP_UNDER)

        if report.is_asked:
            await self._database.write(unit)

    async def _find_proof(self) -> str | None:
        return await self._database.read(partial(server_state.find, name=server_state.KEY_RING_PROOF))


def totals(counts: Mapping[str, Mapping[int, int]]) -> dict[int, int]:
    """Put what `Rewrapping.count` told together over all columns."""
    found: Counter[int] = Counter()
    for counted in counts.values():
        found.update(counted)
    return dict(sorted(found.items()))


def _replace(connection: Connection, *, column: SealedColumn, rows: Sequence[tuple[SealedRow, Any]]) -> int:
    return sum(column.replace(connection, row, fresh) for row, fresh in rows)
