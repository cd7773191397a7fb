-- Roles of Patroni, beside those of roles.sql. They have no password: pg_hba.conf asks for the certificate of an instance.
SELECT format('CREATE ROLE %I', name) FROM unnest(ARRAY['replicator', 'rewind']) AS name
 WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) \gexec
ALTER ROLE replicator WITH LOGIN REPLICATION NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD NULL;
ALTER ROLE rewind WITH LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD NULL;
GRANT CONNECT ON DATABASE postgres TO rewind;
GRANT EXECUTE ON FUNCTION pg_ls_dir(text, boolean, boolean), pg_stat_file(text, boolean), pg_read_binary_file(text),
  pg_read_binary_file(text, bigint, bigint, boolean) TO rewind;
-- Patroni alone says which commits wait for whom: what ALTER SYSTEM sets would override it.
REVOKE ALTER SYSTEM ON PARAMETER synchronous_standby_names FROM receiver;
