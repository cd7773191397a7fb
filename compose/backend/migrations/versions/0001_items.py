"""Items and the idempotency keys of their creation."""

from alembic import op

revision = "0001"
down_revision = None
# Whether the release before can no longer run on the schema that this leaves behind.
contracting = False

STATEMENTS = (
    # Trusted since PostgreSQL 13: the database's owner may create it.
    "CREATE EXTENSION IF NOT EXISTS pg_trgm",
    """
    CREATE TABLE items (
        id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
        name text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
        sku text NOT NULL CONSTRAINT items_sku_key UNIQUE CHECK (length(sku) BETWEEN 1 AND 64),
        quantity integer NOT NULL CHECK (quantity >= 0),
        location text NOT NULL DEFAULT '',
        notes text NOT NULL DEFAULT '',
        version integer NOT NULL DEFAULT 1,
        created_at timestamptz NOT NULL DEFAULT now(),
        created_by text NOT NULL,
        updated_at timestamptz NOT NULL DEFAULT now(),
        updated_by text NOT NULL
    )
    """,
    "CREATE INDEX items_search_idx ON items USING gin ((name || ' ' || sku || ' ' || location) gin_trgm_ops)",
    "CREATE INDEX items_name_idx ON items (name, id)",
    "CREATE INDEX items_updated_at_idx ON items (updated_at, id)",
    """
    CREATE TABLE idempotency_keys (
        subject text NOT NULL,
        key text NOT NULL,
        fingerprint text NOT NULL,
        response jsonb,
        created_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (subject, key)
    )
    """,
    "CREATE INDEX idempotency_keys_created_at_idx ON idempotency_keys (created_at)",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP TABLE idempotency_keys")
    op.execute("DROP TABLE items")
