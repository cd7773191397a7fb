-- Idempotent: run at every start. Passwords come from the secrets, so a drifted one mends itself; but for that of keycloak,
-- which is rotated while this container keeps the secret that it was created with (see below).
\set superuser_password `cat /run/secrets/postgres-superuser`
\set app_password `cat /run/secrets/postgres-app`
\set keycloak_password `cat /run/secrets/postgres-keycloak`
\set grafana_password `cat /run/secrets/postgres-grafana`
\set exporter_password `cat /run/secrets/postgres-exporter`
\set backup_password `cat /run/secrets/postgres-backup`
\set receiver_password `cat /run/secrets/postgres-receiver`

SELECT format('CREATE ROLE %I', name)
  FROM unnest(ARRAY['app', 'keycloak', 'grafana', 'exporter', 'backup', 'receiver']) AS name
 WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) \gexec

-- The limits add up to less than max_connections: no service can starve another, nor the monitoring.
ALTER ROLE app      WITH LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE CONNECTION LIMIT 50 PASSWORD :'app_password';
ALTER ROLE keycloak WITH LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE CONNECTION LIMIT 30;
ALTER ROLE grafana  WITH LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE CONNECTION LIMIT 10 PASSWORD :'grafana_password';
ALTER ROLE exporter WITH LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE CONNECTION LIMIT 5  PASSWORD :'exporter_password';
ALTER ROLE backup   WITH LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS CONNECTION LIMIT 8 PASSWORD :'backup_password';
ALTER ROLE receiver WITH LOGIN REPLICATION NOSUPERUSER NOCREATEDB NOCREATEROLE CONNECTION LIMIT 4 PASSWORD :'receiver_password';
ALTER ROLE postgres PASSWORD :'superuser_password';

-- Each value of this secret is set once, and its digest (of 256 random bits) remembered with the role: a restart with the
-- secret of before a rotation must not bring the old password back.
SELECT encode(sha256(convert_to(:'keycloak_password', 'UTF8')), 'hex') AS mark \gset
SELECT shobj_description('keycloak'::regrole, 'pg_authid') IS DISTINCT FROM :'mark' AS unknown \gset
\if :unknown
  BEGIN;
  ALTER ROLE keycloak PASSWORD :'keycloak_password';
  COMMENT ON ROLE keycloak IS :'mark';
  COMMIT;
\endif

GRANT pg_monitor TO exporter, backup;
GRANT pg_read_all_data TO backup;
ALTER ROLE app SET idle_in_transaction_session_timeout = '60s';

-- Schema public belongs to pg_database_owner since PostgreSQL 15, that is to the role that owns the database.
SELECT format('CREATE DATABASE %I OWNER %I', name, name)
  FROM unnest(ARRAY['app', 'keycloak', 'grafana']) AS name
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
