"""What the role that the backend serves with may do beyond reading and writing rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ops.engines.podman import postgres
from ops.stack.render import container_name

if TYPE_CHECKING:
    from ops.project import Project

OWNED = """
SELECT 'owns ' || count(*) || ' objects of ' || coalesce('database ' || d.datname, 'the cluster')
  FROM pg_shdepend o LEFT JOIN pg_database d ON d.oid = o.dbid
 WHERE o.refclassid = 'pg_authid'::regclass AND o.refobjid = 'app'::regrole AND o.deptype = 'o'
 GROUP BY d.datname
UNION ALL
SELECT 'is a member of ' || g.rolname
  FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid WHERE m.member = 'app'::regrole
UNION ALL
SELECT 'is a superuser, or may make roles or databases, or reads past row security'
  FROM pg_roles WHERE rolname = 'app' AND (rolsuper OR rolcreaterole OR rolcreatedb OR rolbypassrls)
"""
"""pg_shdepend names the owner of each object in every database (PostgreSQL 15, 53.49)."""


def owned(project: Project) -> tuple[str, ...]:
    """What role `app` owns and of what it is a member, in words. Raises OpsError where PostgreSQL does not answer."""
    container = container_name(project.name, "postgres")
    return tuple(postgres.query(project.host, container, "postgres", OWNED).splitlines())
