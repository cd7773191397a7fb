"""Alembic's entry. The connection comes from app.migrate, which holds the advisory lock and sets the time-outs."""

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    # Each step commits by itself: a long series interrupted half-way goes on where it stopped.
    transaction_per_migration=True,
)
with context.begin_transaction():
    context.run_migrations()
