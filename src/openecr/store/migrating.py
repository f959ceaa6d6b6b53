"""Bringing a database to the schema that this version needs: forward only, refusing one that is newer."""

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


def migrate(connection: sqlalchemy.Connection, tree: str) -> None:
    """Run the migrations that a database lacks, in the open transaction. Raises CannotStart for a newer schema."""
    configuration = Config()
    configuration.set_main_option("script_location", str(_FOLDER / tree).replace("%", "%%"))
    configuration.set_main_option("path_separator", "os")
    configuration.attributes["connection"] = connection
    table = version_table(tree)
    context = MigrationContext.configure(connection, opts={"version_table": table})
    known = {script.revision for script in ScriptDirectory.from_config(configuration).walk_revisions()}
    current = context.get_current_revision()
    if current is not None and current not in known:
        raise CannotStart(
            message=f"the database has schema {current}, which this version does not know: use a newer OpenECR"
        )
    command.upgrade(configuration, "head")


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
