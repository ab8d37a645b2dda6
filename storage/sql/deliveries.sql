-- name: accept
-- Store deliveries and enqueue their jobs, in one statement; a known id changes nothing. A job is charged to the account
-- of its installation where that is known already. Returns the ids that are new.
WITH arrived AS (
    SELECT DISTINCT ON (id) *
    FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::bytea[], $7::bytea[],
                $8::text[], $9::smallint[], $10::text[], $11::jsonb[], $12::int[])
        AS t(id, event, action, installation_id, repository_id, body, body_sha256, kind, lane, serial, payload, max_attempts)
), stored AS (
    INSERT INTO deliveries (id, event, action, installation_id, repository_id, body, body_sha256)
    SELECT id, event, action, installation_id, repository_id, body, body_sha256 FROM arrived
    ON CONFLICT (id) DO NOTHING
    RETURNING id
), queued AS (
    INSERT INTO jobs (kind, lane, account_id, serial, payload, delivery_id, max_attempts)
    SELECT kind, lane, installations.account_id, serial, payload, arrived.id, max_attempts
    FROM arrived JOIN stored USING (id)
    LEFT JOIN installations ON installations.id = arrived.installation_id
)
SELECT id, pg_notify('deja_view_jobs', '') FROM stored;

-- name: commit
-- Commit, and begin the next transaction under the same role, in one round trip.
COMMIT AND CHAIN; SET LOCAL ROLE deja_view_system;

-- name: read
-- One delivery.
SELECT id, event, action, installation_id, repository_id, body FROM deliveries WHERE id = $1;

-- name: other_bodies
-- Of known deliveries, those that came now with another body than was stored.
SELECT id FROM deliveries
JOIN unnest($1::uuid[], $2::bytea[]) AS again(again_id, again_sha256) ON id = again_id
WHERE body_sha256 <> again_sha256;
