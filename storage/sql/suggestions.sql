-- name: save
-- Insert, or replace the one of the same issue; nothing where the repository is gone.
INSERT INTO suggestions (account_id, repository_id, issue_number, spoken, reason, threshold, model, likely, also, evidence,
                         content_hash, decided_at, degraded)
SELECT $1, id, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13 FROM repositories WHERE account_id = $1 AND id = $2
ON CONFLICT (repository_id, issue_number) DO UPDATE SET
    spoken = excluded.spoken, reason = excluded.reason, threshold = excluded.threshold, model = excluded.model,
    likely = excluded.likely, also = excluded.also, evidence = excluded.evidence, content_hash = excluded.content_hash,
    decided_at = excluded.decided_at, degraded = excluded.degraded
WHERE suggestions.account_id = $1;

-- name: get
-- The suggestion of an issue.
SELECT account_id, repository_id, issue_number, spoken, reason, threshold, model, likely, also, evidence, content_hash,
       decided_at, degraded
FROM suggestions WHERE account_id = $1 AND repository_id = $2 AND issue_number = $3;

-- name: lock_repository
-- Whoever writes what is said about a repository's issues comes after or before this.
SELECT id FROM repositories WHERE account_id = $1 AND id = $2 FOR NO KEY UPDATE;

-- name: forget_own
-- What was decided about an issue.
DELETE FROM suggestions WHERE account_id = $1 AND repository_id = $2 AND issue_number = $3;

-- name: forget_effects
-- What we wrote, or meant to write, under an issue.
DELETE FROM effects WHERE account_id = $1 AND repository_id = $2 AND issue_number = $3;

-- name: forget_outcomes
-- What people did with a suggestion about an issue, or with the issue as a candidate.
DELETE FROM outcomes WHERE account_id = $1 AND repository_id = $2 AND (issue_number = $3 OR candidate = $3);

-- name: forget_mentions
-- What was decided about others loses its words of that issue ($3), which may have been compared for another ($3 as `via`).
UPDATE suggestions SET
    likely = array_remove(likely, $3), also = array_remove(also, $3),
    evidence = (
        SELECT coalesce(jsonb_object_agg(item.key, item.value), '{}') FROM jsonb_each(evidence) AS item
        WHERE item.key <> $3::integer::text AND item.value ->> 'via' IS DISTINCT FROM $3::integer::text)
WHERE account_id = $1 AND repository_id = $2
  AND (evidence ? $3::integer::text OR $3 = ANY(likely) OR $3 = ANY(also)
       OR EXISTS (SELECT FROM jsonb_each(evidence) AS item WHERE item.value ->> 'via' = $3::integer::text))
RETURNING issue_number;

-- name: forget_bodies
-- Comments whose decision named that issue are known without their text; they are written anew.
UPDATE effects SET body = ''
WHERE account_id = $1 AND repository_id = $2 AND issue_number = ANY($3::integer[]) AND body <> ''
RETURNING issue_number, github_id, key;

-- name: duplicate_of
-- The last confirmation that nobody has rejected since.
SELECT candidate FROM outcomes confirmed
WHERE account_id = $1 AND repository_id = $2 AND issue_number = $3 AND kind = 'confirmed' AND candidate IS NOT NULL
  AND NOT EXISTS (
      SELECT FROM outcomes rejected
      WHERE rejected.account_id = $1 AND rejected.repository_id = $2 AND rejected.issue_number = $3
        AND rejected.kind = 'rejected' AND rejected.recorded_at > confirmed.recorded_at
        AND (rejected.candidate = confirmed.candidate OR rejected.candidate IS NULL))
ORDER BY recorded_at DESC, id DESC LIMIT 1;

-- name: record
-- An outcome; the same one again counts once, as of now. Nothing where the repository is gone.
INSERT INTO outcomes (account_id, repository_id, issue_number, candidate, kind, actor_id, source, recorded_at)
SELECT $1, id, $3, $4, $5, $6, $7, clock_timestamp() FROM repositories WHERE account_id = $1 AND id = $2
ON CONFLICT (repository_id, issue_number, candidate, kind, actor_id) DO UPDATE SET
    source = excluded.source, recorded_at = excluded.recorded_at
WHERE outcomes.account_id = $1;

-- name: refused
-- What was rejected for an issue; null is the suggestion as a whole.
SELECT DISTINCT candidate FROM outcomes
WHERE account_id = $1 AND repository_id = $2 AND issue_number = $3 AND kind = 'rejected';

-- name: stream
-- The next suggestions after an issue.
SELECT account_id, repository_id, issue_number, spoken, reason, threshold, model, likely, also, evidence, content_hash,
       decided_at, degraded
FROM suggestions WHERE account_id = $1 AND repository_id = $2 AND issue_number > $3
ORDER BY issue_number LIMIT $4;

-- name: outcomes
-- The next outcomes after an id.
SELECT id, account_id, repository_id, issue_number, candidate, kind, actor_id, source, recorded_at
FROM outcomes WHERE account_id = $1 AND repository_id = $2 AND id > $3
ORDER BY id LIMIT $4;

-- name: restore
-- A suggestion that was carried here, where the issue has none; nothing where the repository is gone.
INSERT INTO suggestions (account_id, repository_id, issue_number, spoken, reason, threshold, model, likely, also, evidence,
                         content_hash, decided_at, degraded)
SELECT $1, id, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13 FROM repositories WHERE account_id = $1 AND id = $2
ON CONFLICT (repository_id, issue_number) DO NOTHING
RETURNING issue_number;

-- name: restore_outcome
-- An outcome that was carried here, at its own time, unless it is known.
INSERT INTO outcomes (account_id, repository_id, issue_number, candidate, kind, actor_id, source, recorded_at)
SELECT $1, id, $3, $4, $5, $6, $7, $8 FROM repositories WHERE account_id = $1 AND id = $2
ON CONFLICT (repository_id, issue_number, candidate, kind, actor_id) DO NOTHING
RETURNING issue_number;

-- name: list
-- A page of what was decided, latest first, from a place ($3, $4) on.
SELECT account_id, repository_id, issue_number, spoken, reason, threshold, model, likely, also, evidence, content_hash,
       decided_at, degraded
FROM suggestions
WHERE account_id = $1 AND repository_id = $2
  AND ($3::timestamptz IS NULL OR (decided_at, issue_number) < ($3, $4::integer))
ORDER BY decided_at DESC, issue_number DESC LIMIT $5;
