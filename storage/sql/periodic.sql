-- name: take
-- Put the kind's job on the queue where its time has come, and set the next one, both or neither; whoever comes first
-- takes it. A kind that was never seen is due after its first wait: there is nothing to catch up with. Returns its kind.
WITH seen AS (
    INSERT INTO periodic AS old (kind, due_at) VALUES ($1, now() + $2::double precision * interval '1 second')
    ON CONFLICT (kind) DO UPDATE SET due_at = excluded.due_at WHERE old.due_at <= now()
    RETURNING kind, xmax <> 0 AS due
), queued AS (
    INSERT INTO jobs (kind, lane, serial, dedupe, max_attempts)
    SELECT kind, $3, $4, $5, $6 FROM seen WHERE due
    ON CONFLICT (dedupe) WHERE state = 'ready' DO NOTHING
    RETURNING kind
)
SELECT kind, pg_notify('deja_view_jobs', '') FROM queued;

-- name: progress
-- Where the kind goes on.
SELECT progress FROM periodic WHERE kind = $1;

-- name: done
-- Done just now; due at once where there is more to do.
INSERT INTO periodic AS old (kind, due_at, progress) VALUES ($1, now(), $2)
ON CONFLICT (kind) DO UPDATE SET done_at = now(), progress = $2, due_at = CASE WHEN $3::boolean THEN now() ELSE old.due_at END;

-- name: ages
-- How long ago each kind was done, in seconds.
SELECT kind, extract(epoch FROM now() - done_at)::float AS age FROM periodic ORDER BY kind;
