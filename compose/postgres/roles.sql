-- Idempotent: run at every start. Passwords come from the secrets, each value once (see below).
\set superuser_password `cat /run/secrets/postgres-superuser`
\set app_password `cat /run/secrets/postgres-app`
\set migration_password `cat /run/secrets/postgres-migration`
\set keycloak_password `cat /run/secrets/postgres-keycloak`
\set grafana_password `cat /run/secrets/postgres-grafana`
\set exporter_password `cat /run/secrets/postgres-exporter`
\set backup_password `cat /run/secrets/postgres-backup`
\set receiver_password `cat /run/secrets/postgres-receiver`

SELECT format('CREATE ROLE %I', name)
  FROM unnest(ARRAY['app_owner', 'app', 'app_2', 'app_migration', 'keycloak', 'grafana', 'exporter', 'backup', 'receiver']) AS name
 WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) \gexec

-- The limits add up to less than max_connections: no service can starve another, nor the monitoring (docs/explanation/pools.md).
ALTER ROLE app      WITH LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE CONNECTION LIMIT 48;
ALTER ROLE app_2    WITH LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE CONNECTION LIMIT 48;
ALTER ROLE app_migration WITH LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE CONNECTION LIMIT 4;
ALTER ROLE keycloak WITH LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE CONNECTION LIMIT 50;
ALTER ROLE grafana  WITH LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE CONNECTION LIMIT 10;
ALTER ROLE exporter WITH LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE CONNECTION LIMIT 7;
ALTER ROLE backup   WITH LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS CONNECTION LIMIT 16;
ALTER ROLE receiver WITH LOGIN REPLICATION NOSUPERUSER NOCREATEDB NOCREATEROLE CONNECTION LIMIT 4;

-- app_2 is another way to log in as app: a role has one password, and while it is rotated the containers of the backend, which
-- are replaced one by one, need two. Who logs in so is app from the first statement on.
GRANT app TO app_2;
ALTER ROLE app_2 SET role = 'app';

-- The tables belong to neither: who takes over the backend can change rows, and no table, trigger or function. app_migration,
-- with which migrations alone log in, is app_owner from its first statement on.
ALTER ROLE app_owner WITH NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE;
GRANT app_owner TO app_migration;
ALTER ROLE app_migration SET role = 'app_owner';

-- Each value of a secret is set once, and its digest (of 256 random bits) remembered with the role: passwords are rotated while
-- this container keeps the secrets that it was created with, and a restart must not bring an old one back.
CREATE TEMPORARY TABLE given (role text, password text);
INSERT INTO given VALUES
  ('postgres', :'superuser_password'), ('app', :'app_password'), ('app_2', :'app_password'),
  ('app_migration', :'migration_password'), ('keycloak', :'keycloak_password'),
  ('grafana', :'grafana_password'), ('exporter', :'exporter_password'), ('backup', :'backup_password'),
  ('receiver', :'receiver_password');
BEGIN;
SELECT format('ALTER ROLE %I PASSWORD %L', role, password), format('COMMENT ON ROLE %I IS %L', role, mark)
  FROM given, encode(sha256(convert_to(password, 'UTF8')), 'hex') AS mark
 WHERE shobj_description(role::regrole, 'pg_authid') IS DISTINCT FROM mark \gexec
COMMIT;

GRANT pg_monitor TO exporter, backup;
GRANT pg_read_all_data TO backup;
ALTER ROLE app SET idle_in_transaction_session_timeout = '60s';
ALTER ROLE app_2 SET idle_in_transaction_session_timeout = '60s';

-- Schema public belongs to pg_database_owner since PostgreSQL 15, that is to the role that owns the database.
SELECT format('CREATE DATABASE %I OWNER %I', name, owner)
  FROM (VALUES ('app', 'app_owner'), ('keycloak', 'keycloak'), ('grafana', 'grafana')) AS wanted (name, owner)
 WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = name) \gexec

REVOKE ALL ON DATABASE app, keycloak, grafana, postgres, template1 FROM PUBLIC;
GRANT CONNECT ON DATABASE app, keycloak, grafana, postgres TO exporter;
CREATE EXTENSION IF NOT EXISTS pg_stat_statements;
-- Every database, those of a product team included; it marks the place in the WAL that a set is tied to.
SELECT format('GRANT CONNECT ON DATABASE %I TO backup', datname) FROM pg_database WHERE NOT datistemplate \gexec
GRANT EXECUTE ON FUNCTION pg_create_restore_point(text), pg_switch_wal() TO backup;
-- It says itself from when on commits wait for it, and until when: nobody waits for a receiver that has not caught up.
GRANT ALTER SYSTEM ON PARAMETER synchronous_standby_names TO receiver;
GRANT EXECUTE ON FUNCTION pg_reload_conf() TO receiver;
GRANT CONNECT ON DATABASE postgres TO receiver;

-- The database app. In a cluster of an older release, or one restored from its backup, all of it belongs to app. It moves once, and
-- keeps to what a migration has granted or revoked since. Rights on what moves become the new owner's: all grants follow.
\connect app
SELECT datdba = 'app'::regrole AS belongs_to_app FROM pg_database WHERE datname = 'app' \gset
BEGIN;
\if :belongs_to_app
REASSIGN OWNED BY app, app_2 TO app_owner;
SELECT format('GRANT USAGE ON SCHEMA %I TO app', nspname),
       format('GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA %I TO app', nspname),
       format('GRANT SELECT, USAGE, UPDATE ON ALL SEQUENCES IN SCHEMA %I TO app', nspname)
  FROM pg_namespace WHERE nspname = 'public' OR nspowner = 'app_owner'::regrole \gexec
\endif
GRANT CONNECT, TEMPORARY ON DATABASE app TO app;
ALTER DEFAULT PRIVILEGES FOR ROLE app_owner GRANT USAGE ON SCHEMAS TO app;
ALTER DEFAULT PRIVILEGES FOR ROLE app_owner GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO app;
ALTER DEFAULT PRIVILEGES FOR ROLE app_owner GRANT SELECT, USAGE, UPDATE ON SEQUENCES TO app;
COMMIT;
