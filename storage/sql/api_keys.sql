-- name: lock_account
-- Whoever counts or ends an account's keys takes turns here. No row where the App is not installed.
SELECT id FROM accounts WHERE id = $1 AND removed_at IS NULL FOR UPDATE;

-- name: count
-- Keys that are neither revoked nor expired.
SELECT count(*) FROM api_keys WHERE account_id = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now());

-- name: add
-- A key. The foreign key refuses a repository that is not the account's.
INSERT INTO api_keys (account_id, id, name, digest, scope, repository_id, created_by, expires_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
RETURNING id, account_id, name, scope, repository_id, created_by, created_at, expires_at, last_used_at, revoked_at;

-- name: list
-- All keys of the account, without what they are checked by.
SELECT id, account_id, name, scope, repository_id, created_by, created_at, expires_at, last_used_at, revoked_at
FROM api_keys WHERE account_id = $1
ORDER BY created_at DESC, id;

-- name: revoke
-- No row where there is no such key, or it was revoked before.
UPDATE api_keys SET revoked_at = now() WHERE account_id = $1 AND id = $2 AND revoked_at IS NULL RETURNING id;

-- name: used
-- Nothing where it was used within the last minute, too: a row is not written at every call.
UPDATE api_keys SET last_used_at = now()
WHERE account_id = $1 AND id = $2 AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute');

-- name: find
-- A key by its public id, whosever it is, and what GitHub lets us do for its account.
SELECT api_keys.id, api_keys.account_id, name, scope, repository_id, created_by, api_keys.created_at, expires_at,
       last_used_at, revoked_at, digest, installations.state AS installation
FROM api_keys
LEFT JOIN installations ON installations.account_id = api_keys.account_id AND installations.state <> 'removed'
WHERE api_keys.id = $1;
