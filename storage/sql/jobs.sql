-- name: enqueue
-- One job; nothing where a waiting one has the same dedupe key. Its account comes from its installation if not given.
INSERT INTO jobs (kind, lane, account_id, serial, dedupe, payload, delivery_id, run_at, max_attempts)
VALUES ($1, $2, $3, $4, $5, $6, $7, now() + $8::double precision * interval '1 second', $9)
ON CONFLICT (dedupe) WHERE state = 'ready' DO NOTHING
RETURNING id;

-- name: notify
-- The hint that there is work; polling stays the truth.
SELECT pg_notify('deja_view_jobs', '');

-- name: lock_claims
-- Claims take turns: two that choose from the same snapshot would overshoot an account's cap.
SELECT pg_advisory_xact_lock(3735928559);

-- name: claim
-- Lease jobs that are due or were abandoned, lowest lane first. The attempt is counted here and not at failure, so that
-- a job which kills its worker runs out of attempts too.
WITH busy AS (
    SELECT account_id, count(*) AS running
    FROM jobs
    WHERE state = 'running' AND lease_until >= now() AND account_id IS NOT NULL
    GROUP BY account_id
), due AS (
    SELECT id, lane, run_at, account_id,
           row_number() OVER (PARTITION BY serial ORDER BY lane, run_at, id) AS turn,
           row_number() OVER (PARTITION BY account_id ORDER BY lane, run_at, id) AS place,
           serial
    FROM (
        SELECT id, lane, run_at, account_id, serial FROM jobs
        WHERE state = 'running' AND lease_until < now() AND attempt < max_attempts
        UNION ALL
        (SELECT id, lane, run_at, account_id, serial FROM jobs j
         WHERE state = 'ready' AND run_at <= now()
           AND (j.serial IS NULL OR NOT EXISTS (
               SELECT FROM jobs r WHERE r.serial = j.serial AND r.state = 'running'))
           AND (j.account_id IS NULL OR coalesce(
               (SELECT running FROM busy WHERE busy.account_id = j.account_id), 0) < $4)
         ORDER BY lane, run_at, id
         LIMIT 200)
    ) candidates
), chosen AS (
    SELECT due.id
    FROM due LEFT JOIN busy USING (account_id)
    WHERE (due.serial IS NULL OR due.turn = 1)
      AND (due.account_id IS NULL OR due.place + coalesce(busy.running, 0) <= $4)
    ORDER BY due.lane, due.run_at, due.id
    LIMIT $3
), locked AS (
    SELECT id FROM jobs WHERE id IN (SELECT id FROM chosen) FOR UPDATE SKIP LOCKED
)
UPDATE jobs
SET state = 'running', worker = $1, attempt = attempt + 1, lease_until = now() + $2::interval
FROM locked
WHERE jobs.id = locked.id
RETURNING jobs.id, kind, lane, account_id, serial, payload, delivery_id, progress, attempt, max_attempts, worker, enqueued_at;

-- name: bury_abandoned
-- Jobs whose worker died on their last attempt.
UPDATE jobs
SET state = 'dead', worker = NULL, lease_until = NULL, ended_at = now(), reason = 'its worker died on the last attempt'
WHERE state = 'running' AND lease_until < now() AND attempt >= max_attempts
RETURNING id;

-- name: extend
-- The heartbeat. No row means that the lease was lost.
UPDATE jobs SET lease_until = now() + $4::interval
WHERE id = $1 AND worker = $2 AND attempt = $3 AND state = 'running'
RETURNING id;

-- name: save_progress
-- How far a long job got. No row means that the lease was lost.
UPDATE jobs SET progress = $4
WHERE id = $1 AND worker = $2 AND attempt = $3 AND state = 'running'
RETURNING id;

-- name: finish
-- Done, and its delivery too. No row means that the lease was lost.
WITH ended AS (
    UPDATE jobs SET state = 'done', worker = NULL, lease_until = NULL, ended_at = now(), reason = $4
    WHERE id = $1 AND worker = $2 AND attempt = $3 AND state = 'running'
    RETURNING id, delivery_id
), delivered AS (
    UPDATE deliveries SET done_at = now() WHERE id = (SELECT delivery_id FROM ended)
)
SELECT id FROM ended;

-- name: give_back
-- Ready again later. Where the same waits meanwhile, it takes this one's place with its attempts and progress, and no
-- sooner: else each try would leave one job more. What waits for something else of that key stays beside it. No row means
-- that the lease was lost.
WITH mine AS (
    SELECT *, now() + $4::double precision * interval '1 second' AS again_at, attempt - (NOT $6)::integer AS tried
    FROM jobs WHERE id = $1 AND worker = $2 AND attempt = $3 AND state = 'running'
    FOR UPDATE
), other AS (
    UPDATE jobs
    SET attempt = mine.tried, progress = mine.progress, reason = $5,
        run_at = greatest(jobs.run_at, mine.again_at), enqueued_at = least(jobs.enqueued_at, mine.enqueued_at)
    FROM mine
    WHERE jobs.dedupe = mine.dedupe AND jobs.state = 'ready' AND jobs.payload = mine.payload AND mine.delivery_id IS NULL
    RETURNING jobs.id
)
UPDATE jobs
SET state = CASE WHEN EXISTS (SELECT FROM other) THEN 'done' ELSE 'ready' END,
    ended_at = CASE WHEN EXISTS (SELECT FROM other) THEN now() END,
    worker = NULL, lease_until = NULL, reason = $5, run_at = mine.again_at, attempt = mine.tried,
    dedupe = CASE WHEN EXISTS (
        SELECT FROM jobs other WHERE other.dedupe = jobs.dedupe AND other.state = 'ready') THEN NULL ELSE jobs.dedupe END
FROM mine
WHERE jobs.id = mine.id
RETURNING jobs.id;

-- name: bury
-- Dead letter. No row means that the lease was lost.
UPDATE jobs SET state = 'dead', worker = NULL, lease_until = NULL, ended_at = now(), reason = $4
WHERE id = $1 AND worker = $2 AND attempt = $3 AND state = 'running'
RETURNING id;

-- name: depth
-- How many jobs stand where, and how long the oldest that is due has waited, in seconds.
SELECT lane, state, count(*) AS jobs,
       coalesce(extract(epoch FROM max(now() - run_at) FILTER (WHERE state = 'ready' AND run_at <= now())), 0)::float AS oldest
FROM jobs WHERE state <> 'done'
GROUP BY lane, state;

-- name: purge_jobs
-- Ended jobs that are old enough, the dead with their raw events: those are kept four times as long, for whoever looks
-- into them.
WITH gone AS (
    DELETE FROM jobs
    WHERE (state = 'done' AND ended_at < now() - $1::interval) OR (state = 'dead' AND ended_at < now() - $1::interval * 4)
    RETURNING state, delivery_id
)
DELETE FROM deliveries WHERE id IN (SELECT delivery_id FROM gone WHERE state = 'dead');

-- name: purge_deliveries
-- Raw deliveries that are done and old enough.
DELETE FROM deliveries WHERE done_at < now() - $1::interval;

-- name: view
-- Jobs with the names of what they are about: those with these ids, or the latest in a state.
SELECT jobs.id, jobs.kind, jobs.lane, jobs.state, attempt, max_attempts, jobs.reason, jobs.account_id,
       nullif(accounts.login, '') AS account, repositories.owner || '/' || repositories.name AS repository,
       deliveries.event || coalesce('.' || deliveries.action, '') AS event, delivery_id, payload, progress, enqueued_at, run_at,
       ended_at
FROM jobs
LEFT JOIN deliveries ON deliveries.id = jobs.delivery_id
LEFT JOIN accounts ON accounts.id = jobs.account_id
LEFT JOIN repositories
    ON repositories.id = coalesce(deliveries.repository_id, (payload->>'repository_id')::bigint)
    AND repositories.account_id = jobs.account_id
WHERE CASE WHEN $1::bigint[] IS NULL THEN jobs.state = ANY($2::text[]) ELSE jobs.id = ANY($1) END
ORDER BY coalesce(ended_at, enqueued_at) DESC, jobs.id DESC
LIMIT $3;

-- name: retry
-- Dead jobs, with all their attempts again: those with these ids, or all. The key that kept a second one from waiting is not
-- needed any more.
UPDATE jobs
SET state = 'ready', attempt = 0, run_at = now(), enqueued_at = now(), ended_at = NULL, reason = NULL, dedupe = NULL
WHERE state = 'dead' AND ($1::bigint[] IS NULL OR id = ANY($1))
RETURNING id;

-- name: bury_by_hand
-- Dead by the operator's word; a worker that runs it loses its lease.
UPDATE jobs SET state = 'dead', worker = NULL, lease_until = NULL, ended_at = now(), reason = $2
WHERE id = $1 AND state IN ('ready', 'running')
RETURNING id;

-- name: indexing
-- The job of a kind ($2) about a repository ($3) of an account, the one that runs before the one that waits.
SELECT state, progress FROM jobs
WHERE account_id = $1 AND kind = $2 AND payload->>'repository_id' = $3 AND state IN ('ready', 'running')
ORDER BY state = 'running' DESC, id LIMIT 1;

-- name: stuck
-- Accounts whose work only waits or fails since that long ($1), and repositories whose index nobody makes.
SELECT jobs.account_id, nullif(accounts.login, '') AS account, NULL AS repository, min(enqueued_at) AS since,
       count(*) || ' jobs wait and none ended well; the last says: '
           || coalesce((array_agg(jobs.reason ORDER BY jobs.id DESC) FILTER (WHERE jobs.reason IS NOT NULL))[1], 'nothing') AS why
FROM jobs LEFT JOIN accounts ON accounts.id = jobs.account_id
WHERE jobs.account_id IS NOT NULL AND state IN ('ready', 'running') AND enqueued_at < now() - $1::interval
  AND (run_at < now() - $1::interval OR jobs.reason IS NOT NULL)
  AND NOT EXISTS (
      SELECT FROM jobs well
      WHERE well.account_id = jobs.account_id AND well.state = 'done' AND well.ended_at > now() - $1::interval)
GROUP BY jobs.account_id, accounts.login
UNION ALL
SELECT repositories.account_id, nullif(accounts.login, ''), owner || '/' || name, added_at,
       'it is ' || repositories.state || ' and no job makes its index'
FROM repositories
JOIN accounts ON accounts.id = repositories.account_id
JOIN installations ON installations.id = installation_id AND installations.state = 'active'
WHERE repositories.state IN ('pending', 'indexing') AND added_at < now() - $1::interval
  AND NOT EXISTS (
      SELECT FROM jobs
      WHERE jobs.account_id = repositories.account_id AND kind = 'index_repository' AND jobs.state IN ('ready', 'running')
        AND (payload->>'repository_id')::bigint = repositories.id)
ORDER BY since;
