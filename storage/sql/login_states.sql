-- name: put
-- A sign-in that was begun.
INSERT INTO login_states (digest, verifier, next, expires_at) VALUES ($1, $2, $3, now() + interval '10 minutes');

-- name: take
-- Once: the row goes with it.
WITH taken AS (DELETE FROM login_states WHERE digest = $1 RETURNING verifier, next, expires_at)
SELECT verifier, next FROM taken WHERE expires_at > now();
