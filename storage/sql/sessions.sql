-- name: save_user
-- Who signed in just now. Whoever renews older tokens meanwhile finds them gone.
INSERT INTO users (id, login, access_token, refresh_token, access_expires_at, refresh_expires_at)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (id) DO UPDATE SET
    login = excluded.login, access_token = excluded.access_token, refresh_token = excluded.refresh_token,
    access_expires_at = excluded.access_expires_at, refresh_expires_at = excluded.refresh_expires_at,
    refreshing_until = NULL, updated_at = now();

-- name: user
-- A person with their tokens.
SELECT id, login, access_token, refresh_token, access_expires_at, refresh_expires_at FROM users WHERE id = $1;

-- name: begin_refresh
-- Take the turn to renew tokens. No row where somebody has it, or the tokens are others by now.
UPDATE users SET refreshing_until = clock_timestamp() + interval '30 seconds'
WHERE id = $1 AND access_token = $2 AND refresh_token IS NOT DISTINCT FROM $3
  AND (refreshing_until IS NULL OR refreshing_until < clock_timestamp())
RETURNING id;

-- name: end_refresh
-- The new tokens, where the old ones ($2, $3) are still there.
UPDATE users SET access_token = $4, refresh_token = $5, access_expires_at = $6, refresh_expires_at = $7,
                 refreshing_until = NULL, updated_at = now()
WHERE id = $1 AND access_token = $2 AND refresh_token IS NOT DISTINCT FROM $3
RETURNING id;

-- name: leave_refresh
-- Nothing was renewed: somebody else may try.
UPDATE users SET refreshing_until = NULL
WHERE id = $1 AND access_token = $2 AND refresh_token IS NOT DISTINCT FROM $3;

-- name: replace_tokens
-- The same tokens in another form. Not while somebody has them renewed: the new ones would find their place taken.
UPDATE users SET access_token = $4, refresh_token = $5, access_expires_at = $6, refresh_expires_at = $7
WHERE id = $1 AND access_token = $2 AND refresh_token IS NOT DISTINCT FROM $3
  AND (refreshing_until IS NULL OR refreshing_until < clock_timestamp())
RETURNING id;

-- name: users_after
-- People with a greater id.
SELECT id, login, access_token, refresh_token, access_expires_at, refresh_expires_at FROM users
WHERE id > $1 ORDER BY id LIMIT $2;

-- name: open
-- A session, from now on.
INSERT INTO sessions (digest, user_id, expires_at) VALUES ($1, $2, $3);

-- name: find
-- A session that is not over, with its person; that it was seen is written at most once a minute.
WITH seen AS (
    UPDATE sessions SET last_seen_at = now()
    WHERE digest = $1 AND expires_at > now() AND last_seen_at < now() - interval '1 minute'
)
SELECT sessions.created_at, sessions.expires_at, users.id, login, access_token, refresh_token, access_expires_at,
       refresh_expires_at
FROM sessions JOIN users ON users.id = user_id
WHERE digest = $1 AND sessions.expires_at > now();

-- name: close
-- Sign out in one browser.
DELETE FROM sessions WHERE digest = $1;
