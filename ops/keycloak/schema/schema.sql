-- What the database says of the Keycloak that migrated it, and of what is in it: one JSON object.
SELECT to_regclass('public.databasechangelog') IS NOT NULL AND to_regclass('public.migration_model') IS NOT NULL AS made \gset
\if :made
SELECT json_build_object(
  'version', coalesce((SELECT version FROM migration_model ORDER BY update_time DESC LIMIT 1), ''),
  'changesets', (SELECT coalesce(json_agg(id || '|' || author || '|' || filename), '[]') FROM databasechangelog),
  'counts', json_build_object(
    'realms', (SELECT count(*) FROM realm), 'clients', (SELECT count(*) FROM client),
    'users', (SELECT count(*) FROM user_entity), 'roles', (SELECT count(*) FROM keycloak_role)));
\endif
