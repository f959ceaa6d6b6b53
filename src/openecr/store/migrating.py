"""Bringing a database to the schema that this version needs: forward only, refusing one that is newer."""

from pathlib import Path

import sqlalchemy
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from openecr.domain.errors import CannotStart

_FOLDER = Path(__file__).parent / "migrations"
TREES = ("metadata", "activity")
"""One tree of migrations for each database; on PostgreSQL both live in one, each with its own version table."""


def migrate(connection: sqlalchemy.Connection, tree: str) -> None:
    """Run the migrations that a database lacks, in one transaction. Raises CannotStart for a newer schema."""
    configuration = Config()
    configuration.set_main_option("script_location", str(_FOLDER / tree))
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
    """Migrate the two files of an embedded server, making those that are missing."""
    for path, tree in zip((metadata, activity), TREES, strict=True):
        engine = sqlalchemy.create_engine(f"sqlite:///{path}", poolclass=sqlalchemy.NullPool)
        try:
            with engine.connect() as connection:
                connection.exec_driver_sql("PRAGMA auto_vacuum=INCREMENTAL")
                connection.exec_driver_sql("PRAGMA journal_mode=WAL")
                connection.exec_driver_sql("PRAGMA synchronous=FULL")
                connection.commit()
                with connection.begin():
                    migrate(connection, tree)
        finally:
            engine.dispose()
