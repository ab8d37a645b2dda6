-- name: get
-- One repository of the account.
SELECT id, account_id, installation_id, owner, name, private, collection, state, reason, indexed_at, issues_total,
       issues_indexed, revision, threshold, threshold_model, config_notice, override, override_until, public_search,
       CASE WHEN over_limit THEN frozen_at END AS frozen_at,
       (SELECT shrunk_at FROM accounts JOIN tiers ON tiers.name = accounts.tier
        WHERE accounts.id = repositories.account_id AND issues_indexed > tiers.issues) AS surplus_since
FROM repositories WHERE account_id = $1 AND id = $2;

-- name: list
-- All repositories of the account, by name.
SELECT id, account_id, installation_id, owner, name, private, collection, state, reason, indexed_at, issues_total,
       issues_indexed, revision, threshold, threshold_model, config_notice, override, override_until, public_search,
       CASE WHEN over_limit THEN frozen_at END AS frozen_at,
       (SELECT shrunk_at FROM accounts JOIN tiers ON tiers.name = accounts.tier
        WHERE accounts.id = repositories.account_id AND issues_indexed > tiers.issues) AS surplus_since
FROM repositories WHERE account_id = $1
ORDER BY lower(owner), lower(name), id;

-- name: find
-- By the name that GitHub last told, whosever it is: for the operator's commands alone.
SELECT id, account_id, installation_id, owner, name, private, collection, state, reason, indexed_at, issues_total,
       issues_indexed, revision, threshold, threshold_model, config_notice, override, override_until
FROM repositories WHERE lower(owner || '/' || name) = lower($1)
ORDER BY id LIMIT 1;

-- name: anywhere
-- By GitHub's id, whosever it is.
SELECT id, account_id, installation_id, owner, name, private, collection, state, reason, indexed_at, issues_total,
       issues_indexed, revision, threshold, threshold_model, config_notice, override, override_until, public_search,
       CASE WHEN over_limit THEN frozen_at END AS frozen_at,
       (SELECT shrunk_at FROM accounts JOIN tiers ON tiers.name = accounts.tier
        WHERE accounts.id = repositories.account_id AND issues_indexed > tiers.issues) AS surplus_since
FROM repositories WHERE id = $1;

-- name: change_wishes
-- What people want of it ($6 to $8), where that is still what was seen ($3 to $5).
UPDATE repositories SET override = $6, override_until = $7, public_search = $8
WHERE account_id = $1 AND id = $2 AND override IS NOT DISTINCT FROM $3 AND override_until IS NOT DISTINCT FROM $4
  AND public_search = $5
RETURNING id;

-- name: rename
-- What GitHub calls it now.
UPDATE repositories SET owner = $3, name = $4, private = $5 WHERE account_id = $1 AND id = $2;

-- name: set_state
-- Move to a state. What is over the tier's limit is let in by the account's count alone, never from here, and what people
-- deactivated stays as it is.
UPDATE repositories SET state = $3, reason = $4, over_limit = false
WHERE account_id = $1 AND id = $2 AND ($3 = 'inactive' OR NOT over_limit) AND NOT deactivated;

-- name: readmit
-- What is inactive for that reason waits for room, as if it had come over the tier's limit now.
UPDATE repositories SET over_limit = true,
    frozen_at = CASE WHEN revision > 0 OR indexed_at IS NOT NULL THEN now() END
WHERE account_id = $1 AND id = $2 AND state = 'inactive' AND reason = $3 AND NOT deactivated;

-- name: indexed
-- The index is complete; a repository that became inactive meanwhile stays so.
UPDATE repositories
SET state = 'active', indexed_at = now(), issues_total = $3,
    issues_indexed = (SELECT count(*) FROM issues WHERE issues.account_id = $1 AND issues.repository_id = $2)
WHERE account_id = $1 AND id = $2 AND state <> 'inactive';

-- name: calibrated
-- The score from which the bot speaks, and what it belongs to.
UPDATE repositories SET threshold = $3, threshold_model = $4 WHERE account_id = $1 AND id = $2;

-- name: config_reported
-- The invalid config that was reported last. No row where it is this one already.
UPDATE repositories SET config_notice = $3
WHERE account_id = $1 AND id = $2 AND config_notice IS DISTINCT FROM $3
RETURNING id;

-- name: set_override
-- What an administrator wants against the back-test; nulls take it back.
UPDATE repositories SET override = $3, override_until = $4 WHERE account_id = $1 AND id = $2;

-- name: active
-- What is indexed and may be worked on: of every account, or of the one with that login.
SELECT repositories.id, repositories.account_id, installation_id, owner, name, private, collection, repositories.state, reason,
       indexed_at, issues_total, issues_indexed, revision, threshold, threshold_model, config_notice, override, override_until
FROM repositories
JOIN installations ON installations.id = repositories.installation_id AND installations.state = 'active'
JOIN accounts ON accounts.id = repositories.account_id AND ($1::text IS NULL OR lower(accounts.login) = lower($1))
WHERE repositories.state = 'active'
ORDER BY repositories.id;

-- name: synced_until
-- Up to when all changes are known.
SELECT synced_at FROM repositories WHERE account_id = $1 AND id = $2;

-- name: synced
-- All changes up to then are known now; what came first to a later time holds.
UPDATE repositories SET synced_at = greatest(synced_at, $3) WHERE account_id = $1 AND id = $2;
