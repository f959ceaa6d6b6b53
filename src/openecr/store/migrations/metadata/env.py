"""How Alembic runs the migrations of the metadata tree: on the connection that it is handed, in its transaction."""

from alembic import context

from openecr.store.migrating import version_table
from openecr.store.schema import SCHEMAS

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=SCHEMAS["metadata"],
    version_table=version_table("metadata"),
    transactional_ddl=True,
)
context.run_migrations()
