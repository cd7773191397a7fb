"""Names in the order in which people expect them, and who changed what.

`names` is Unicode's own order (CLDR root), numbers by their value: it fits German beside Japanese, and "M8" comes before "M10". Only an
ORDER BY uses it: the columns keep the collation C, whose indexes no library's new version can put out of order. The one index by
`names` serves the first page of the list.
"""

from alembic import op

revision = "0003"
down_revision = "0002"
contracting = False

STATEMENTS = (
    "CREATE COLLATION names (provider = icu, locale = 'und-u-kn-true')",
    "CREATE INDEX items_name_order_idx ON items (name COLLATE names, id)",
    """
    CREATE TABLE item_history (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        item_id uuid NOT NULL,
        version integer NOT NULL,
        action text NOT NULL CHECK (action IN ('created', 'updated', 'deleted')),
        at timestamptz NOT NULL DEFAULT now(),
        subject text NOT NULL,
        username text NOT NULL,
        name text NOT NULL,
        sku text NOT NULL,
        quantity integer NOT NULL,
        location text NOT NULL,
        notes text NOT NULL
    )
    """,
    "CREATE INDEX item_history_item_idx ON item_history (item_id, id)",
    # What was written down stays: the backend only adds.
    "REVOKE UPDATE, DELETE, TRUNCATE ON item_history FROM app",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP TABLE item_history")
    op.execute("DROP INDEX items_name_order_idx")
    op.execute("DROP COLLATION names")
