-- What has come into Keycloak since a moment (:at, in seconds since 1970), without what the stack's own accounts do.
SELECT json_build_object(
  'users', (SELECT count(*) FROM user_entity WHERE created_timestamp >= 1000 * :'at'::bigint AND username NOT LIKE :'own'
    AND service_account_client_link IS NULL),
  'passwords', (SELECT count(*) FROM credential c JOIN user_entity u ON u.id = c.user_id
    WHERE c.created_date >= 1000 * :'at'::bigint AND u.username NOT LIKE :'own'),
  'logins', (SELECT count(*) FROM offline_user_session s JOIN user_entity u ON u.id = s.user_id
    WHERE s.created_on > :'at'::bigint AND u.username NOT LIKE :'own'),
  'admin changes', (SELECT count(*) FROM admin_event_entity e LEFT JOIN client c ON c.id = e.auth_client_id
    WHERE e.admin_event_time >= 1000 * :'at'::bigint AND coalesce(c.client_id, '') NOT LIKE :'own'));
