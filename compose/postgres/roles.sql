-- Idempotent: run at every start. Passwords come from the secrets, so a drifted one mends itself.
\set superuser_password `cat /run/secrets/postgres-superuser`
\set app_password `cat /run/secrets/postgres-app`
\set keycloak_password `cat /run/secrets/postgres-keycloak`
\set grafana_password `cat /run/secrets/postgres-grafana`
\set exporter_password `cat /run/secrets/postgres-exporter`

SELECT format('CREATE ROLE %I', name)
  FROM unnest(ARRAY['app', 'keycloak', 'grafana', 'exporter']) AS name
 WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) \gexec

-- The limits add up to less than max_connections: no service can starve another, nor the monitoring.
ALTER ROLE app      WITH LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE CONNECTION LIMIT 50 PASSWORD :'app_password';
ALTER ROLE keycloak WITH LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE CONNECTION LIMIT 30 PASSWORD :'keycloak_password';
ALTER ROLE grafana  WITH LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE CONNECTION LIMIT 10 PASSWORD :'grafana_password';
ALTER ROLE exporter WITH LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE CONNECTION LIMIT 5  PASSWORD :'exporter_password';
ALTER ROLE postgres PASSWORD :'superuser_password';
GRANT pg_monitor TO exporter;
ALTER ROLE app SET idle_in_transaction_session_timeout = '60s';

-- Schema public belongs to pg_database_owner since PostgreSQL 15, that is to the role that owns the database.
SELECT format('CREATE DATABASE %I OWNER %I', name, name)
  FROM unnest(ARRAY['app', 'keycloak', 'grafana']) AS name
 WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = name) \gexec

REVOKE ALL ON DATABASE app, keycloak, grafana, postgres, template1 FROM PUBLIC;
GRANT CONNECT ON DATABASE app, keycloak, grafana, postgres TO exporter;
CREATE EXTENSION IF NOT EXISTS pg_stat_statements;
