-- name: blank_strangers
-- Raw events of what is not there any more: a removed installation, a repository that was taken from one. Those of the
-- last minutes may have overtaken the event that makes it known.
UPDATE deliveries SET body = '', done_at = coalesce(done_at, now())
WHERE body <> '' AND received_at < now() - $1::interval
  AND NOT EXISTS (SELECT FROM jobs WHERE delivery_id = deliveries.id AND state IN ('ready', 'running'))
  AND (NOT EXISTS (SELECT FROM installations WHERE id = installation_id AND state <> 'removed')
       OR (repository_id IS NOT NULL AND NOT EXISTS (
           SELECT FROM repositories
           WHERE repositories.id = repository_id AND repositories.installation_id = deliveries.installation_id)));

-- name: blank_listings
-- Raw events that name what came and went, once they are done: nothing reads them again.
UPDATE deliveries SET body = ''
WHERE body <> '' AND done_at IS NOT NULL
  AND (event IN ('installation', 'installation_repositories', 'installation_target', 'repository'));

-- name: blank_issues
-- Raw events about issues that were deleted or moved away: all that ran in one row with the event that says so.
UPDATE deliveries SET body = ''
FROM jobs
WHERE jobs.delivery_id = deliveries.id AND jobs.state NOT IN ('ready', 'running') AND body <> ''
  AND jobs.serial IN (
      SELECT removal.serial FROM jobs AS removal JOIN deliveries AS said ON said.id = removal.delivery_id
      WHERE said.event = 'issues' AND said.action IN ('deleted', 'transferred') AND removal.serial IS NOT NULL);

-- name: forget_purges
-- Done jobs that name the collections of purged repositories.
DELETE FROM jobs WHERE kind = 'purge_repository' AND state = 'done';

-- name: tables
-- All of our tables.
SELECT format('%I.%I', 'public', relname) AS name FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' ORDER BY relname;

-- name: forget_statistics
-- The planner's samples of our columns: pieces of text among them. They are taken anew when a table is analysed.
DELETE FROM pg_statistic WHERE starelid IN (
    SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace);
