-- name: note
-- Remember those deliveries of GitHub's log that are not in ours.
INSERT INTO missed_deliveries AS old
    (id, attempt_id, event, action, installation_id, repository_id, answered, delivered_at)
SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::boolean[],
                     $8::timestamptz[])
    AS given (id, attempt_id, event, action, installation_id, repository_id, answered, delivered_at)
WHERE NOT EXISTS (SELECT FROM deliveries WHERE deliveries.id = given.id)
ON CONFLICT (id) DO UPDATE SET
    attempt_id = greatest(old.attempt_id, excluded.attempt_id), answered = old.answered OR excluded.answered;

-- name: arrived
-- Forget what arrived since and was handled, and what GitHub does not keep any longer.
DELETE FROM missed_deliveries
WHERE delivered_at < now() - $1::interval
   OR EXISTS (SELECT FROM deliveries WHERE deliveries.id = missed_deliveries.id AND done_at IS NOT NULL);

-- name: lost
-- Whether we took a delivery before, and have it only because it was sent again.
SELECT EXISTS (SELECT FROM missed_deliveries WHERE id = $1 AND answered);

-- name: silence
-- Whether something was asked for and nothing at all was received since.
SELECT coalesce(max(asked_at) > coalesce((SELECT max(received_at) FROM deliveries), '-infinity'), false)
FROM missed_deliveries;

-- name: due
-- What to ask for now, oldest first: an installation's own events, and those of repositories that it still has. What was
-- removed stays away, what is not known yet waits for the event that brings it, and what we took before a repository was
-- added belongs to an earlier life of it. In a silence, the one that was asked for longest ago goes first.
SELECT id, attempt_id, event, action, installation_id, repository_id, answered, delivered_at, asked, asked_at
FROM missed_deliveries missed
LEFT JOIN LATERAL (SELECT state FROM installations WHERE installations.id = missed.installation_id) known ON true
WHERE NOT settled AND asked < $1
  AND (asked_at IS NULL OR asked_at < now() - CASE WHEN $2::boolean THEN $3::interval ELSE $3::interval * 2 ^ (asked - 1) END)
  AND NOT EXISTS (SELECT FROM deliveries WHERE deliveries.id = missed.id)
  AND CASE
      WHEN known.state = 'removed' THEN false
      WHEN repository_id IS NOT NULL THEN EXISTS (
          SELECT FROM repositories WHERE repositories.id = missed.repository_id
            AND repositories.installation_id = missed.installation_id
            AND (NOT missed.answered OR repositories.added_at <= missed.delivered_at))
      ELSE installation_id IS NULL OR known.state IS NOT NULL OR event LIKE 'installation%'
      END
ORDER BY CASE WHEN $2::boolean THEN asked_at END NULLS FIRST, delivered_at, attempt_id
LIMIT $4;

-- name: ask
-- Take the turn to ask for one; no row where somebody else just did. An ask into a silence is not counted.
UPDATE missed_deliveries SET asked = asked + $3::integer, asked_at = now()
WHERE id = $1 AND asked_at IS NOT DISTINCT FROM $2
RETURNING id;

-- name: settle
-- Nothing is missing: it was not to be stored, or GitHub has it no more.
UPDATE missed_deliveries SET settled = true WHERE id = $1;

-- name: count
-- How many wait to be asked for or to arrive, and how many were given up.
SELECT count(*) FILTER (WHERE asked < $1) AS waiting, count(*) FILTER (WHERE asked >= $1) AS given_up
FROM missed_deliveries
WHERE NOT settled AND NOT EXISTS (SELECT FROM deliveries WHERE deliveries.id = missed_deliveries.id);
