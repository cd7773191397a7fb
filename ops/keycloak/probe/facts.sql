-- What PostgreSQL knows of Keycloak: each statement prints one JSON object. Run by the superuser, read-only.
-- Its keys are the fields of PostgresFacts (facts.py) and of what that holds.
-- Variables: role (Keycloak's, and its database's name), realm, ops (the operations client), suspects (how many users at most).
SELECT json_build_object('cluster', json_build_object(
  'now', extract(epoch FROM clock_timestamp()),
  'read_only', CASE WHEN pg_is_in_recovery() THEN 'standby'
    WHEN EXISTS (SELECT FROM pg_db_role_setting s LEFT JOIN pg_roles r ON r.oid = s.setrole
      LEFT JOIN pg_database d ON d.oid = s.setdatabase WHERE (s.setrole = 0 OR r.rolname = :'role')
      AND (s.setdatabase = 0 OR d.datname = :'role') AND 'default_transaction_read_only=on' = ANY(s.setconfig))
    THEN 'set for the role or the database'
    WHEN EXISTS (SELECT FROM pg_file_settings WHERE name = 'default_transaction_read_only' AND applied
      AND setting IN ('on', 'true', 'yes', '1')) THEN 'set for the server' ELSE '' END,
  'max_connections', current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int,
  'connections', (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'),
  'role', (SELECT json_build_object('login', rolcanlogin, 'limit', rolconnlimit,
      'expired', coalesce(rolvaliduntil < now(), false),
      'connections', (SELECT count(*) FROM pg_stat_activity WHERE usename = :'role'))
    FROM pg_roles WHERE rolname = :'role'),
  'database', (SELECT json_build_object('owner', pg_get_userbyid(datdba), 'encoding', pg_encoding_to_char(encoding),
      'connectable', datallowconn) FROM pg_database WHERE datname = :'role'),
  'sessions', (SELECT coalesce(json_agg(json_build_object('pid', pid, 'address', coalesce(host(client_addr), ''),
      'application', application_name, 'seconds', extract(epoch FROM now() - backend_start))), '[]')
    FROM pg_stat_activity WHERE usename = :'role' AND datname = :'role'),
  'blockers', (SELECT coalesce(json_agg(json_build_object('pid', b.pid, 'address', coalesce(host(b.client_addr), ''),
      'application', b.application_name, 'seconds', coalesce(extract(epoch FROM now() - b.xact_start), 0))), '[]')
    FROM pg_stat_activity b WHERE b.pid IN (SELECT unnest(pg_blocking_pids(w.pid)) FROM pg_stat_activity w
      WHERE w.usename = :'role' AND w.datname = :'role' AND w.wait_event_type = 'Lock'))));
\connect :role
SELECT json_build_object('schema', json_build_object(
  'create', coalesce((SELECT has_schema_privilege(r.oid, n.oid, 'CREATE') AND has_schema_privilege(r.oid, n.oid, 'USAGE')
    FROM pg_roles r, pg_namespace n WHERE r.rolname = :'role' AND n.nspname = 'public'), false),
  'lock_owner', (SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = to_regclass('public.databasechangeloglock')),
  'strangers', (SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_roles r ON r.rolname = :'role'
    WHERE n.nspname = 'public' AND c.relkind IN ('r', 'S')
      AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.classid = 'pg_class'::regclass AND d.deptype = 'e')
      AND (pg_get_userbyid(c.relowner) <> :'role'
      OR (c.relkind = 'r' AND NOT (has_table_privilege(r.oid, c.oid, 'SELECT') AND has_table_privilege(r.oid, c.oid, 'INSERT')
        AND has_table_privilege(r.oid, c.oid, 'UPDATE') AND has_table_privilege(r.oid, c.oid, 'DELETE'))))),
  'locks', (SELECT coalesce(json_agg(l), '[]') FROM (
    SELECT a.pid, coalesce(host(a.client_addr), '') AS address, a.application_name AS application,
      extract(epoch FROM now() - a.xact_start) AS seconds,
      EXISTS (SELECT FROM pg_locks w WHERE w.pid = a.pid AND NOT w.granted) AS waits
    FROM pg_stat_activity a WHERE EXISTS (SELECT FROM pg_locks o WHERE o.pid = a.pid AND o.granted
      AND o.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND o.relation = to_regclass('public.databasechangeloglock') AND o.mode IN ('RowShareLock', 'RowExclusiveLock'))
    ORDER BY a.xact_start) l)));
-- Tables of other versions are asked for apart: whichever Keycloak made the schema, the rest is read.
SELECT to_regclass('public.migration_model') IS NOT NULL AS made, to_regclass('public.jgroups_ping') IS NOT NULL AS clustered
\gset
\set rows 0
\if :clustered
SELECT count(*) AS rows FROM public.jgroups_ping \gset
\endif
\if :made
SELECT json_build_object('content', json_build_object(
  'version', (SELECT version FROM migration_model ORDER BY update_time DESC LIMIT 1),
  'realms', (SELECT coalesce(json_object_agg(name, enabled), '{}') FROM realm),
  'ssl_required', (SELECT coalesce(json_object_agg(name, coalesce(ssl_required, '')), '{}') FROM realm),
  'clients', (SELECT coalesce(json_agg(json_build_object('client_id', c.client_id, 'enabled', c.enabled,
      'standard_flow', c.standard_flow_enabled,
      'redirects', (SELECT coalesce(json_agg(value), '[]') FROM redirect_uris u WHERE u.client_id = c.id),
      'origins', (SELECT coalesce(json_agg(value), '[]') FROM web_origins u WHERE u.client_id = c.id))), '[]')
    FROM client c JOIN realm r ON r.id = c.realm_id WHERE r.name = :'realm'),
  'key_providers', (SELECT coalesce(json_object_agg(c.name, NOT EXISTS (SELECT FROM component_config f
      WHERE f.component_id = c.id AND f.name IN ('enabled', 'active') AND f.value = 'false')), '{}')
    FROM component c JOIN realm r ON r.id = c.realm_id
    WHERE r.name = :'realm' AND c.provider_type = 'org.keycloak.keys.KeyProvider'
      AND c.provider_id ~ '^(rsa|ecdsa|eddsa|java-keystore)' AND c.provider_id !~ 'enc|ecdh'),
  'admins', (SELECT count(*) FROM user_entity u JOIN realm r ON r.id = u.realm_id
    JOIN user_role_mapping m ON m.user_id = u.id JOIN keycloak_role k ON k.id = m.role_id
    WHERE r.name = 'master' AND k.name = 'admin' AND NOT k.client_role AND u.enabled
      AND u.service_account_client_link IS NULL),
  'ops_client', EXISTS (SELECT FROM client c JOIN realm r ON r.id = c.realm_id
    WHERE r.name = 'master' AND c.client_id = :'ops' AND c.enabled),
  'cluster_rows', :rows,
  'changesets', (SELECT coalesce(json_agg(id || '|' || author || '|' || filename), '[]') FROM databasechangelog),
  'login_theme', (SELECT login_theme FROM realm WHERE name = :'realm'),
  'login_errors', (SELECT count(*) FROM event_entity e JOIN realm r ON r.id = e.realm_id WHERE r.name = :'realm'
    AND e.type = 'LOGIN_ERROR' AND e.event_time > 1000 * extract(epoch FROM now() - interval '1 hour')),
  'suspects', (SELECT coalesce(json_agg(s.user_id), '[]') FROM (
    SELECT e.user_id FROM event_entity e JOIN realm r ON r.id = e.realm_id JOIN user_entity u ON u.id = e.user_id
    WHERE r.name = :'realm' AND e.type = 'LOGIN_ERROR'
      AND e.event_time > 1000 * extract(epoch FROM now() - interval '1 hour')
    GROUP BY e.user_id ORDER BY max(e.event_time) DESC LIMIT :suspects) s)));
\endif
