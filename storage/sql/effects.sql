-- name: intend
-- A new intent; no row where the key is known or the repository is gone.
INSERT INTO effects (account_id, repository_id, issue_number, key, state, body)
SELECT $1, id, $3, $4, 'intent', $5 FROM repositories WHERE account_id = $1 AND id = $2
ON CONFLICT (repository_id, issue_number, key) DO NOTHING;

-- name: get
-- The effect of a key.
SELECT id, account_id, repository_id, issue_number, key, state, body, github_id, updated_at
FROM effects WHERE account_id = $1 AND repository_id = $2 AND issue_number = $3 AND key = $4;

-- name: move
-- To another state, from the version that the caller has seen. No row means that somebody else moved it since.
UPDATE effects
SET state = $5, body = $6, github_id = $7, updated_at = greatest(clock_timestamp(), updated_at + interval '1 microsecond'),
    first_done_at = CASE WHEN $5 = 'done' THEN coalesce(first_done_at, clock_timestamp()) ELSE first_done_at END
WHERE account_id = $1 AND id = $2 AND state = $3 AND updated_at = $4
RETURNING id, account_id, repository_id, issue_number, key, state, body, github_id, updated_at;

-- name: silent_for
-- Seconds since the last comment, whatever became of it.
SELECT extract(epoch FROM clock_timestamp() - max(first_done_at))::float FROM effects
WHERE account_id = $1 AND repository_id = $2 AND issue_number = $3 AND github_id IS NOT NULL;

-- name: spoken_today
-- Comments of the last day: effects that have an id on GitHub, whatever became of them, by when they were first there.
SELECT count(*) FROM effects
WHERE account_id = $1 AND repository_id = $2 AND issue_number = $3 AND github_id IS NOT NULL
  AND first_done_at > now() - interval '24 hours';
