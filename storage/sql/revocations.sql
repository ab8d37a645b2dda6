-- name: revoke
-- Take a token back; once more changes nothing.
INSERT INTO revoked_tokens (account_id, jti, until) VALUES ($1, $2, $3) ON CONFLICT (account_id, jti) DO NOTHING;

-- name: standing
-- Whether a token was taken back, or the key ($3, if any) that it was exchanged from is not good any more; and what GitHub
-- lets us do for its account.
SELECT EXISTS (SELECT FROM revoked_tokens WHERE account_id = $1 AND jti = $2)
       OR ($3::text IS NOT NULL AND NOT EXISTS (
           SELECT FROM api_keys
           WHERE account_id = $1 AND id = $3 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now()))) AS revoked,
       (SELECT state FROM installations WHERE account_id = $1 AND state <> 'removed') AS installation;
