"""What belongs to the application's role, in a cluster of an older release, moves to the role that owns tables."""

from __future__ import annotations

import secrets

from tests.drill.stack import Drill, succeeds
from tests.smoke.accounts import Account
from tests.smoke.conftest import item_input

OWNERS = """SELECT DISTINCT relowner::regrole FROM pg_class WHERE relnamespace = 'public'::regnamespace
UNION SELECT datdba::regrole FROM pg_database WHERE datname = 'app'"""
OLDER = """REASSIGN OWNED BY app_owner TO app;
ALTER DEFAULT PRIVILEGES FOR ROLE app_owner REVOKE ALL ON TABLES FROM app;
CREATE TABLE older (n int); ALTER TABLE older OWNER TO app;"""


def test_tables_of_an_older_release_get_another_owner_and_the_application_goes_on(stack: Drill, editor: Account) -> None:
    stack.psql(OLDER, "app")
    assert stack.psql(OWNERS, "app") == "app"
    try:
        succeeds("restart", "postgres")
        stack.await_healthy()
        assert stack.psql(OWNERS, "app") == "app_owner"
        assert stack.psql("SET ROLE app; INSERT INTO older VALUES (1) RETURNING n", "app") == "1"
    finally:
        stack.psql("DROP TABLE older", "app")
    assert editor("POST", "/items", json=item_input(sku=f"DRILL-{secrets.token_hex(6)}")).status_code == 201
    stack.assert_as_wanted()
