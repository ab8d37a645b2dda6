-- name: record
-- A line, now.
INSERT INTO audit_log (account_id, actor, actor_id, action, subject, result, address, details)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8);

-- name: list
-- An account's lines below an id, or all, latest first.
SELECT id, account_id, at, actor, actor_id, action, subject, result, address, details
FROM audit_log WHERE account_id = $1 AND ($2::bigint IS NULL OR id < $2)
ORDER BY id DESC LIMIT $3;
