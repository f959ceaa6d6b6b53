"""How Alembic runs the migrations of the activity tree: on the connection that it is handed, in its transaction."""

from alembic import context

from openecr.store.migrating import version_table
from openecr.store.schema import SCHEMAS

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=SCHEMAS["activity"],
    version_table=version_table("activity"),
    transactional_ddl=True,
)
context.run_migrations()
