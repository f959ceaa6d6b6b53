"""Bringing a database to the schema that this version needs: forward only, refusing one that is newer."""

from collections.abc import Iterable
from pathlib import Path

import sqlalchemy
import sqlalchemy.exc
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from openecr.domain.errors import CannotStart
from openecr.store.sqlite import connect

_FOLDER = Path(__file__).parent / "migrations"
TREES = ("metadata", "activity")
"""One tree of migrations for each database; on PostgreSQL both live in one, each with its own version table."""


class NewerSchema(CannotStart):
    """A schema that a newer version made, and that this one cannot work with."""

    def __init__(self, revision: str) -> None:
        super().__init__(
            message=f"the database has schema {revision}, which this version does not know: use a newer OpenECR"
        )


def migrate(connection: sqlalchemy.Connection, tree: str, *, to: str = "head") -> None:
    """Run the migrations that a database lacks, in the open transaction. Raises NewerSchema."""
    current = find_revision(connection, tree)
    if current is not None and current not in revisions(tree):
        raise NewerSchema(current)
    configuration = _configuration(tree)
    configuration.attributes["connection"] = connection
    command.upgrade(configuration, to)


def find_revision(connection: sqlalchemy.Connection, tree: str) -> str | None:
    """Return how far a tree has been run, or None where it never was."""
    context = MigrationContext.configure(connection, opts={"version_table": version_table(tree)})
    return context.get_current_revision()


def revisions(tree: str) -> frozenset[str]:
    """Return every revision that this version knows."""
    return frozenset(script.revision for script in _scripts(tree).walk_revisions())


def head_of(tree: str) -> str:
    """Return the newest revision that this version knows."""
    head = _scripts(tree).get_current_head()
    assert head is not None
    return head


def oldest_compatible(tree: str) -> str:
    """Return the oldest revision whose version may still work with the newest schema.

    Each migration says how far back its own promise reaches, `oldest_compatible = "0007"`; one that says nothing breaks
    with all before it. What every later migration promises to a revision, the newest schema keeps.
    """
    scripts = _scripts(tree).walk_revisions()  # from the newest
    return reach(
        (script.revision, getattr(script.module, "oldest_compatible", script.revision)) for script in scripts
    )


def reach(promises: Iterable[tuple[str, str]]) -> str:
    """Return the oldest of revisions, the newest first, that each later one promises to go together with."""
    oldest = broken_before = ""
    for revision, promised in promises:
        if revision < broken_before:
            break
        oldest, broken_before = revision, max(broken_before, promised)
    return oldest


def _scripts(tree: str) -> ScriptDirectory:
    return ScriptDirectory.from_config(_configuration(tree))


def _configuration(tree: str) -> Config:
    configuration = Config()
    configuration.set_main_option("script_location", str(_FOLDER / tree).replace("%", "%%"))
    configuration.set_main_option("path_separator", "os")
    return configuration


def version_table(tree: str) -> str:
    """Return the name of the table that tells how far a tree has been run."""
    return f"alembic_version_{tree}"


def migrate_sqlite(metadata: Path, activity: Path) -> None:
    """Migrate the two files of an embedded server, making those that are missing. Raises CannotStart."""
    for path, tree in zip((metadata, activity), TREES, strict=True):
        try:
            _migrate_file(path, tree)
        except sqlalchemy.exc.DBAPIError as error:
            raise CannotStart(message=f"the database {path} cannot be used: {error.orig}") from error


def _migrate_file(path: Path, tree: str) -> None:
    engine = sqlalchemy.create_engine(
        "sqlite://", creator=lambda: connect(path, writes=True), poolclass=sqlalchemy.NullPool
    )
    with engine.begin() as connection:
        # Python's own transactions leave CREATE TABLE outside; a crash would then leave half a schema.
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        migrate(connection, tree)
