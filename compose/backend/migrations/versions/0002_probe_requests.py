"""Which requests of the stack's own prober were carried out, and how often (app/probe.py)."""

from alembic import op

revision = "0002"
down_revision = "0001"
contracting = False

STATEMENTS = (
    """
    CREATE TABLE probe_requests (
        key text PRIMARY KEY,
        attempts integer NOT NULL,
        at timestamptz NOT NULL DEFAULT now()
    )
    """,
    "CREATE INDEX probe_requests_at_idx ON probe_requests (at)",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP TABLE probe_requests")
