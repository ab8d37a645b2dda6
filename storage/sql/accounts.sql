-- name: add_account
-- An account that nothing is known of, as one that is not installed; nothing where there is a row.
INSERT INTO accounts (id, login, kind, tier, removed_at) VALUES ($1, '', $2, $3, now())
ON CONFLICT (id) DO NOTHING;

-- name: lock_account
-- Whoever counts or changes an account's installations and repositories takes turns here.
SELECT id FROM accounts WHERE id = $1 FOR UPDATE;

-- name: installed
-- The account as GitHub names it now; its tier stays.
UPDATE accounts SET login = $2, kind = $3, removed_at = NULL WHERE id = $1;

-- name: uninstalled
-- An account without a living installation is kept without its login, for its tier.
UPDATE accounts SET login = '', removed_at = now()
WHERE id = $1 AND removed_at IS NULL
  AND NOT EXISTS (SELECT FROM installations WHERE account_id = $1 AND state <> 'removed')
RETURNING id;

-- name: purge_keys
-- The keys of an account that is not installed any more. Tokens that were taken back stay so.
DELETE FROM api_keys WHERE account_id = $1;

-- name: purge_answers
-- What its programs were answered.
DELETE FROM idempotency_keys WHERE account_id = $1;

-- name: find_installation
-- Whose an installation is, the removed ones too.
SELECT account_id, state FROM installations WHERE id = $1;

-- name: retire_installations
-- What an account's new installation replaces.
UPDATE installations SET state = 'removed' WHERE account_id = $1 AND id <> $2 AND state <> 'removed';

-- name: add_installation
-- A living installation.
INSERT INTO installations (id, account_id, state) VALUES ($1, $2, 'active');

-- name: remove_installation
-- Removed for good, also where it was never seen living. No row where it is another account's.
INSERT INTO installations (id, account_id, state) VALUES ($1, $2, 'removed')
ON CONFLICT (id) DO UPDATE SET state = 'removed' WHERE installations.account_id = excluded.account_id
RETURNING id;

-- name: set_state
-- Suspend, resume or park; a removed installation stays removed.
UPDATE installations SET state = $3 WHERE id = $1 AND account_id = $2 AND state <> 'removed';

-- name: installation
-- A living installation.
SELECT id, account_id, state FROM installations WHERE id = $1 AND state <> 'removed';

-- name: account
-- An account that has the App installed.
SELECT id, login, kind, tier FROM accounts WHERE id = $1 AND removed_at IS NULL;

-- name: find_account
-- By the login that GitHub last told.
SELECT id, login, kind, tier FROM accounts WHERE lower(login) = lower($1) AND removed_at IS NULL ORDER BY id LIMIT 1;

-- name: set_tier
-- No row where the account is not known.
UPDATE accounts SET tier = $2 WHERE id = $1 RETURNING id;

-- name: shrink
-- From now on the account's repositories may hold fewer issues.
UPDATE accounts SET shrunk_at = now() WHERE id = $1;

-- name: end_notice
-- The notice of a downgrade is over; that of a later one ($2) is not.
UPDATE accounts SET shrunk_at = NULL WHERE id = $1 AND shrunk_at <= $2;

-- name: overdue
-- Accounts that keep something beyond their tier since a downgrade of that time or before.
SELECT id FROM accounts WHERE shrunk_at <= $1
UNION
SELECT account_id FROM repositories WHERE over_limit AND frozen_at <= $1
ORDER BY id;

-- name: tier
-- The limits of an account; of the default tier ($2) where the account is not known.
SELECT name, repositories, issues, api_calls, (SELECT shrunk_at FROM accounts WHERE id = $1) AS shrunk_at FROM tiers
WHERE name = coalesce((SELECT tier FROM accounts WHERE id = $1), $2);

-- name: take_over
-- Rows of repositories that moved to this account from others: purged, with all that hangs on them.
DELETE FROM repositories WHERE id = ANY($2::bigint[]) AND account_id <> $1
RETURNING id, account_id, installation_id, owner, name, private, collection, state, reason, indexed_at, issues_total,
          issues_indexed, revision, threshold, threshold_model, config_notice;

-- name: drop_stale
-- Repositories that a replaced installation could see and this one was not given.
DELETE FROM repositories WHERE account_id = $1 AND installation_id <> $2 AND id <> ALL($3::bigint[])
RETURNING id, account_id, installation_id, owner, name, private, collection, state, reason, indexed_at, issues_total,
          issues_indexed, revision, threshold, threshold_model, config_notice;

-- name: carry_over
-- What is left of a replaced installation goes on under this one; events may have been missed in between.
UPDATE repositories SET installation_id = $2 WHERE account_id = $1 AND installation_id <> $2
RETURNING id;

-- name: add_repositories
-- New ones as over the limit: `fit` lets in what has room. Known ones are named anew. No row for another account's.
INSERT INTO repositories (id, account_id, installation_id, owner, name, private, collection, state, reason, over_limit)
SELECT id, $1, $2, owner, name, private, collection, 'inactive', $3, true
FROM unnest($4::bigint[], $5::text[], $6::text[], $7::boolean[], $8::text[]) AS given (id, owner, name, private, collection)
ORDER BY id
ON CONFLICT (id) DO UPDATE SET owner = excluded.owner, name = excluded.name, private = excluded.private
WHERE repositories.account_id = excluded.account_id
RETURNING id;

-- name: fit
-- Repositories over the limit that fit now, oldest first. Only under the account's lock.
UPDATE repositories SET state = 'pending', reason = NULL, over_limit = false
WHERE account_id = $1 AND id IN (
    SELECT id FROM repositories WHERE account_id = $1 AND over_limit
    ORDER BY added_at, id
    LIMIT greatest(0, $2::integer - (SELECT count(*) FROM repositories WHERE account_id = $1 AND state <> 'inactive')))
RETURNING id;

-- name: explain
-- Why the rest that is frozen since then ($3) is inactive, in the words of the tier of today.
UPDATE repositories SET reason = $2
WHERE account_id = $1 AND over_limit AND frozen_at IS NOT DISTINCT FROM $3 AND reason <> $2;

-- name: frozen_times
-- Since when what is over the limit is frozen; null where nothing of it was ever kept.
SELECT DISTINCT frozen_at FROM repositories WHERE account_id = $1 AND over_limit;

-- name: freeze
-- What a smaller tier has no place for: those that were added last. What was kept of them is kept for a while. Only under
-- the account's lock.
UPDATE repositories SET state = 'inactive', reason = $3, over_limit = true,
    frozen_at = CASE WHEN revision > 0 OR indexed_at IS NOT NULL THEN now() END
WHERE account_id = $1 AND id IN (
    SELECT id FROM repositories WHERE account_id = $1 AND state <> 'inactive'
    ORDER BY added_at, id OFFSET $2);

-- name: place
-- Whether a repository has a place in the tier, or people took it away.
SELECT state, deactivated FROM repositories WHERE account_id = $1 AND id = $2;

-- name: placed
-- Repositories that have a place in the tier. Only under the account's lock.
SELECT id FROM repositories WHERE account_id = $1 AND state <> 'inactive';

-- name: deactivate
-- Nothing is done there until people activate it.
UPDATE repositories SET state = 'inactive', reason = $3, over_limit = false, deactivated = true
WHERE account_id = $1 AND id = $2;

-- name: activate
-- To be indexed, whatever it was inactive for.
UPDATE repositories SET state = 'pending', reason = NULL, over_limit = false, deactivated = false
WHERE account_id = $1 AND id = $2;

-- name: to_index
-- Of the given ones ($2) those not indexed yet, and those that shall be indexed whatever they are ($3).
SELECT id, account_id, installation_id, owner, name, private, collection, state, reason, indexed_at, issues_total,
       issues_indexed, revision, threshold, threshold_model, config_notice
FROM repositories
WHERE account_id = $1
  AND ((id = ANY($2::bigint[]) AND state = 'pending') OR (id = ANY($3::bigint[]) AND state <> 'inactive'))
ORDER BY added_at, id;

-- name: remove_repositories
-- Purge repositories; their rows in other tables go along by foreign key.
DELETE FROM repositories WHERE account_id = $1 AND id = ANY($2::bigint[])
RETURNING id, account_id, installation_id, owner, name, private, collection, state, reason, indexed_at, issues_total,
          issues_indexed, revision, threshold, threshold_model, config_notice;

-- name: remove_all
-- Purge what an installation could see.
DELETE FROM repositories WHERE account_id = $1 AND installation_id = $2
RETURNING id, account_id, installation_id, owner, name, private, collection, state, reason, indexed_at, issues_total,
          issues_indexed, revision, threshold, threshold_model, config_notice;

-- name: rename_account
-- What GitHub calls an account now; one that is not installed stays without its login.
UPDATE accounts SET login = $2 WHERE id = $1 AND removed_at IS NULL;

-- name: rename_owner
-- Its repositories have its name in theirs.
UPDATE repositories SET owner = $2 WHERE account_id = $1;

-- name: ids
-- All repositories of an account. Only under its lock.
SELECT coalesce(array_agg(id ORDER BY id), '{}') FROM repositories WHERE account_id = $1;

-- name: add_cleared
-- Rows that were deleted with all that hung on them, empty: nothing is done there until people activate them.
INSERT INTO repositories (id, account_id, installation_id, owner, name, private, collection, state, reason, deactivated)
SELECT id, $1, installation_id, owner, name, private, collection, 'inactive', $2, true
FROM unnest($3::bigint[], $4::bigint[], $5::text[], $6::text[], $7::boolean[], $8::text[])
     AS gone (id, installation_id, owner, name, private, collection);

-- name: remove_frozen
-- What is over the limit since a downgrade of that time or before: with all that hangs on it.
DELETE FROM repositories WHERE account_id = $1 AND over_limit AND frozen_at <= $2
RETURNING id, account_id, installation_id, owner, name, private, collection, added_at, override, override_until, public_search,
          config_notice;

-- name: add_emptied
-- Such rows again, empty: over the limit as before, in their old order, and with what people wanted of the bot there.
INSERT INTO repositories (id, account_id, installation_id, owner, name, private, collection, state, reason, over_limit,
                          added_at, override, override_until, public_search, config_notice)
SELECT id, $1, installation_id, owner, name, private, collection, 'inactive', $2, true,
       added_at, override, override_until, public_search, config_notice
FROM unnest($3::bigint[], $4::bigint[], $5::text[], $6::text[], $7::boolean[], $8::text[], $9::timestamptz[], $10::text[],
            $11::timestamptz[], $12::boolean[], $13::text[])
     AS gone (id, installation_id, owner, name, private, collection, added_at, override, override_until, public_search,
              config_notice);

-- name: queue_purges
-- The jobs that drop the collections of purged repositories.
INSERT INTO jobs (kind, lane, account_id, serial, payload, max_attempts)
SELECT 'purge_repository', 0, account_id, 'index:' || id, jsonb_build_object('repository_id', id, 'collection', collection), 8
FROM unnest($1::bigint[], $2::bigint[], $3::text[]) AS gone (account_id, id, collection);

-- name: purge_deliveries
-- Raw events of purged repositories with their jobs; what is being worked on right now is left for its worker to end.
-- Their ids stay without the body, so that GitHub's log holds nothing that we seem never to have got.
WITH doomed AS (
    SELECT deliveries.id FROM deliveries
    JOIN unnest($1::bigint[], $2::bigint[]) AS gone (repository_id, installation_id) USING (repository_id, installation_id)
    WHERE NOT EXISTS (SELECT FROM jobs WHERE delivery_id = deliveries.id AND state = 'running')
), unqueued AS (
    DELETE FROM jobs WHERE delivery_id IN (SELECT id FROM doomed)
)
UPDATE deliveries SET body = '', done_at = coalesce(done_at, now()) WHERE id IN (SELECT id FROM doomed);

-- name: purge_installation_deliveries
-- Raw events of a removed installation with their jobs; as above.
WITH doomed AS (
    SELECT id FROM deliveries
    WHERE installation_id = $1 AND NOT EXISTS (SELECT FROM jobs WHERE delivery_id = deliveries.id AND state = 'running')
), unqueued AS (
    DELETE FROM jobs WHERE delivery_id IN (SELECT id FROM doomed)
)
UPDATE deliveries SET body = '', done_at = coalesce(done_at, now()) WHERE id IN (SELECT id FROM doomed);
