-- name: begin
-- A key that is new, is a day old, or belongs to the same request that somebody began a minute ago and never ended. No row
-- where it is taken; it is locked all the same, so that it can be looked at.
INSERT INTO idempotency_keys AS old (account_id, key, fingerprint, created_at) VALUES ($1, $2, $3, clock_timestamp())
ON CONFLICT (account_id, key) DO UPDATE SET
    fingerprint = excluded.fingerprint, status = NULL, body = NULL, created_at = clock_timestamp()
WHERE old.account_id = $1
  AND (old.created_at < now() - interval '24 hours'
       OR (old.status IS NULL AND old.fingerprint = excluded.fingerprint AND old.created_at < now() - interval '1 minute'))
RETURNING created_at;

-- name: taken
-- What a key is taken by, and in how many seconds whoever works on it counts as dead.
SELECT fingerprint = $3 AS same, status, body,
       greatest(1, ceil(60 - extract(epoch FROM clock_timestamp() - created_at)))::integer AS retry_after
FROM idempotency_keys WHERE account_id = $1 AND key = $2;

-- name: finish
-- The answer of whoever began then ($3); nothing where somebody else took it over.
UPDATE idempotency_keys SET status = $4, body = $5 WHERE account_id = $1 AND key = $2 AND created_at = $3 AND status IS NULL;

-- name: abandon
-- As if it had never been begun.
DELETE FROM idempotency_keys WHERE account_id = $1 AND key = $2 AND created_at = $3 AND status IS NULL;
