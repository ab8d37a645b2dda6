-- name: lock
-- What an installation may do now, by the server's clock; nobody else decides over it before this transaction ends.
SELECT clock_timestamp() AS now, ended, comment_at, holder, held_until, place, resume_at, pause_length, secondary
FROM paces WHERE installation_id = $1 FOR UPDATE;

-- name: add
-- An installation that nothing was written to yet.
INSERT INTO paces (installation_id) VALUES ($1) ON CONFLICT DO NOTHING;

-- name: take
-- Begin a write. It counts from now on, should its process die.
UPDATE paces
SET holder = $2, held_until = clock_timestamp() + $3::double precision * interval '1 second',
    ended = $4::timestamptz[] || statement_timestamp(),
    comment_at = CASE WHEN $5 THEN statement_timestamp() ELSE comment_at END, comments = $5
WHERE installation_id = $1;

-- name: give_place
-- The moment at which somebody shall come back.
UPDATE paces SET place = $2 WHERE installation_id = $1;

-- name: renew
-- Keep a turn. No row means that it is somebody else's by now.
UPDATE paces SET held_until = clock_timestamp() + $3::double precision * interval '1 second'
WHERE installation_id = $1 AND holder = $2
RETURNING installation_id;

-- name: end
-- The write ended, and counts from now; nothing where the turn is somebody else's by now.
UPDATE paces
SET holder = NULL, held_until = NULL, ended[cardinality(ended)] = statement_timestamp(),
    comment_at = CASE WHEN comments THEN statement_timestamp() ELSE comment_at END
WHERE installation_id = $1 AND holder = $2;

-- name: pause_of
-- The last pause, its end in seconds from now: the clocks of processes differ.
SELECT extract(epoch FROM resume_at - clock_timestamp())::double precision AS resumes_in, pause_length, secondary
FROM paces WHERE installation_id = $1 AND resume_at IS NOT NULL;

-- name: pause
-- Stay silent until then.
UPDATE paces SET resume_at = $2, pause_length = $3, secondary = $4 WHERE installation_id = $1;

-- name: purge
-- Installations whose past decides over nothing any more.
DELETE FROM paces
WHERE (held_until IS NULL OR held_until < now())
  AND (ended = '{}' OR ended[cardinality(ended)] < now() - interval '1 hour')
  AND (place IS NULL OR place < now())
  AND (resume_at IS NULL OR resume_at + pause_length * interval '1 second' < now());
