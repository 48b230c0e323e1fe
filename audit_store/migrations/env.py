"""Runs a migration on the connection it is handed; the store opens and commits the transaction around it."""

from alembic import context

from audit_store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    transactional_ddl=False,
)
context.run_migrations()
