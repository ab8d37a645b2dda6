-- name: lock_repository
-- Writers of one repository's issues take turns, so that revisions become visible in their order. Returns the last one.
SELECT revision FROM repositories WHERE account_id = $1 AND id = $2 FOR NO KEY UPDATE;

-- name: set_revision
-- The revision of what was changed under the lock.
UPDATE repositories SET revision = $3 WHERE account_id = $1 AND id = $2;

-- name: save
-- Versions that are not older than what is stored, and differ from it; never what was deleted. Another text loses its
-- vectors. Of two versions of one second the one that came last holds: GitHub's times do not tell more. An imported one
-- (github_id 0) does not hold against GitHub's own, and what it does not know stays as it was.
WITH given AS (
    SELECT given.* FROM unnest(
        $4::integer[], $5::bigint[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[], $11::bigint[],
        $12::boolean[], $13::text[]::jsonb[], $14::boolean[], $15::boolean[], $16::integer[], $17::timestamptz[],
        $18::timestamptz[], $19::timestamptz[], $20::bytea[]
    ) AS given (number, github_id, title, body, state, state_reason, author, author_id, author_is_bot, labels,
                is_pull_request, locked, reactions, created_at, updated_at, closed_at, content_hash)
    WHERE NOT EXISTS (
        SELECT FROM issue_removals removal
        WHERE removal.account_id = $1 AND removal.repository_id = $2 AND removal.number = given.number
          AND removal.kind = 'deleted')
), before AS (
    SELECT number, content_hash FROM issues
    WHERE account_id = $1 AND repository_id = $2 AND number = ANY($4::integer[])
), stored AS (
    INSERT INTO issues AS old (
        account_id, repository_id, revision, number, github_id, title, body, state, state_reason, author, author_id,
        author_is_bot, labels, is_pull_request, locked, reactions, created_at, updated_at, closed_at, content_hash)
    SELECT $1, $2, $3, given.* FROM given
    ON CONFLICT (repository_id, number) DO UPDATE SET
        revision = excluded.revision, title = excluded.title, body = excluded.body, state = excluded.state,
        labels = excluded.labels, is_pull_request = excluded.is_pull_request, created_at = excluded.created_at,
        updated_at = excluded.updated_at,
        github_id = CASE WHEN excluded.github_id = 0 THEN old.github_id ELSE excluded.github_id END,
        author = CASE WHEN excluded.github_id = 0 THEN old.author ELSE excluded.author END,
        author_id = CASE WHEN excluded.github_id = 0 THEN old.author_id ELSE excluded.author_id END,
        author_is_bot = CASE WHEN excluded.github_id = 0 THEN old.author_is_bot ELSE excluded.author_is_bot END,
        locked = CASE WHEN excluded.github_id = 0 THEN old.locked ELSE excluded.locked END,
        reactions = CASE WHEN excluded.github_id = 0 THEN old.reactions ELSE excluded.reactions END,
        state_reason = CASE WHEN excluded.github_id = 0 AND old.state = excluded.state THEN old.state_reason
                            ELSE excluded.state_reason END,
        closed_at = CASE WHEN excluded.github_id = 0 AND old.state = excluded.state THEN old.closed_at
                         ELSE excluded.closed_at END,
        content_hash = excluded.content_hash,
        title_vector = CASE WHEN old.content_hash = excluded.content_hash THEN old.title_vector END,
        text_vector = CASE WHEN old.content_hash = excluded.content_hash THEN old.text_vector END,
        model = CASE WHEN old.content_hash = excluded.content_hash THEN old.model END,
        terms = CASE WHEN old.content_hash = excluded.content_hash THEN old.terms END,
        lines = CASE WHEN old.content_hash = excluded.content_hash THEN old.lines END,
        thin = CASE WHEN old.content_hash = excluded.content_hash THEN old.thin END,
        scorer = CASE WHEN old.content_hash = excluded.content_hash THEN old.scorer END
    WHERE old.account_id = $1
      AND (old.updated_at < excluded.updated_at
           OR old.updated_at = excluded.updated_at AND (excluded.github_id <> 0 OR old.github_id = 0))
      AND (old.github_id, old.content_hash, old.state, old.state_reason, old.author, old.author_id, old.author_is_bot,
           old.labels, old.is_pull_request, old.locked, old.reactions, old.created_at, old.updated_at, old.closed_at)
          IS DISTINCT FROM
          (excluded.github_id, excluded.content_hash, excluded.state, excluded.state_reason, excluded.author,
           excluded.author_id, excluded.author_is_bot, excluded.labels, excluded.is_pull_request, excluded.locked,
           excluded.reactions, excluded.created_at, excluded.updated_at, excluded.closed_at)
    RETURNING number, content_hash
)
SELECT stored.number, before.number IS NULL AS added,
       before.content_hash IS DISTINCT FROM stored.content_hash AS changed_text
FROM stored LEFT JOIN before USING (number)
ORDER BY stored.number;

-- name: evict
-- What is beyond the room ($4): closed before open, least recently updated first. What was stored only just now ($5)
-- leaves no trace, since nobody has seen it.
WITH surplus AS (
    SELECT number FROM issues WHERE account_id = $1 AND repository_id = $2
    ORDER BY (state = 'open'), updated_at, number
    LIMIT greatest(0, (SELECT count(*) FROM issues WHERE account_id = $1 AND repository_id = $2) - $4::bigint)
), gone AS (
    DELETE FROM issues WHERE account_id = $1 AND repository_id = $2 AND number IN (SELECT number FROM surplus)
    RETURNING number, github_id
), noted AS (
    INSERT INTO issue_removals (account_id, repository_id, number, kind, github_id, removed_at, revision)
    SELECT $1, $2, number, 'evicted', github_id, now(), $3 FROM gone WHERE number <> ALL($5::integer[])
)
SELECT number FROM gone ORDER BY number;

-- name: came_back
-- Evicted issues that are stored again.
DELETE FROM issue_removals
WHERE account_id = $1 AND repository_id = $2 AND number = ANY($3::integer[]) AND kind = 'evicted';

-- name: get
-- Issues by number.
SELECT * FROM issues WHERE account_id = $1 AND repository_id = $2 AND number = ANY($3::integer[]);

-- name: set_vectors
-- Vectors of texts that are still the same, and their words where they are given.
UPDATE issues SET
    title_vector = given.title_vector, text_vector = given.text_vector, model = $4, revision = $3,
    terms = given.terms, lines = given.lines, thin = given.thin, scorer = given.scorer
FROM unnest($5::integer[], $6::bytea[], $7::bytea[], $8::bytea[], $9::bytea[], $10::bytea[], $11::boolean[], $12::text[])
    AS given (number, content_hash, title_vector, text_vector, terms, lines, thin, scorer)
WHERE issues.account_id = $1 AND issues.repository_id = $2
  AND issues.number = given.number AND issues.content_hash = given.content_hash
RETURNING issues.number;

-- name: unembedded
-- Issues without vectors of this model.
SELECT * FROM issues WHERE account_id = $1 AND repository_id = $2 AND model IS DISTINCT FROM $3
ORDER BY number LIMIT $4;

-- name: stream
-- The next batch after a revision and number. Revisions only rise, so a change meanwhile is met further on.
SELECT * FROM issues WHERE account_id = $1 AND repository_id = $2 AND (revision, number) > ($3::bigint, $4::integer)
ORDER BY revision, number LIMIT $5;

-- name: read
-- The next batch as `stream` has it, in one row and by column, where the words are those of this scorer ($6). The others'
-- numbers come along.
SELECT count(*) AS issues, (array_agg(revision))[count(*)] AS revision, (array_agg(number))[count(*)] AS number,
       array_agg(number) FILTER (WHERE NOT kept) AS others,
       array_agg(number) FILTER (WHERE kept) AS numbers,
       array_agg(extract(epoch FROM created_at)::double precision) FILTER (WHERE kept) AS created,
       array_agg(coalesce(author_id, 0)) FILTER (WHERE kept) AS authors,
       array_agg(NOT (thin OR author_is_bot OR is_pull_request)) FILTER (WHERE kept) AS asks,
       array_agg(content_hash) FILTER (WHERE kept) AS digests,
       string_agg(terms, '') FILTER (WHERE kept) AS terms,
       array_agg(octet_length(terms) / 10) FILTER (WHERE kept) AS term_counts,
       string_agg(lines, '') FILTER (WHERE kept) AS lines,
       array_agg(octet_length(lines) / 4) FILTER (WHERE kept) AS line_counts,
       string_agg(title_vector, '') FILTER (WHERE kept) AS titles,
       string_agg(text_vector, '') FILTER (WHERE kept) AS texts
FROM (
    SELECT *, scorer IS NOT DISTINCT FROM $6 AS kept FROM issues
    WHERE account_id = $1 AND repository_id = $2 AND (revision, number) > ($3::bigint, $4::integer)
    ORDER BY revision, number LIMIT $5
) AS batch;

-- name: removed_since
-- Issues that left after a revision.
SELECT number FROM issue_removals WHERE account_id = $1 AND repository_id = $2 AND revision > $3 ORDER BY number;

-- name: outdated
-- Of repositories ($2) as they were at a revision ($3): those that are gone, also where they were added again (null), and
-- which issues of the others were deleted since.
SELECT held.id, removal.number
FROM unnest($2::bigint[], $3::bigint[]) AS held (id, revision)
LEFT JOIN repositories ON repositories.account_id = $1 AND repositories.id = held.id AND repositories.revision >= held.revision
LEFT JOIN issue_removals removal ON removal.account_id = $1 AND removal.repository_id = repositories.id
    AND removal.revision > held.revision AND removal.kind = 'deleted'
WHERE repositories.id IS NULL OR removal.number IS NOT NULL
ORDER BY held.id, removal.number;

-- name: delete
-- Tombstones, also for what was never stored. `there` tells what was; no row for what was a tombstone already.
WITH gone AS (
    DELETE FROM issues WHERE account_id = $1 AND repository_id = $2 AND number = ANY($4::integer[])
    RETURNING number, github_id
), buried AS (
    INSERT INTO issue_removals AS old (account_id, repository_id, number, kind, github_id, removed_at, revision)
    SELECT $1, $2, given.number, 'deleted', gone.github_id, $5, $3
    FROM unnest($4::integer[]) AS given (number) LEFT JOIN gone USING (number)
    ON CONFLICT (repository_id, number) DO UPDATE SET
        kind = 'deleted', github_id = coalesce(excluded.github_id, old.github_id), removed_at = excluded.removed_at,
        revision = excluded.revision
    WHERE old.account_id = $1 AND old.kind = 'evicted'
    RETURNING number
)
SELECT number, EXISTS (SELECT FROM gone WHERE gone.number = buried.number) AS there FROM buried ORDER BY number;

-- name: leave
-- Issues that are not wanted: as if they had made room, so that they may come back.
WITH gone AS (
    DELETE FROM issues WHERE account_id = $1 AND repository_id = $2 AND number = ANY($4::integer[])
    RETURNING number, github_id
)
INSERT INTO issue_removals (account_id, repository_id, number, kind, github_id, removed_at, revision)
SELECT $1, $2, number, 'evicted', github_id, now(), $3 FROM gone
ON CONFLICT (repository_id, number) DO UPDATE SET removed_at = excluded.removed_at, revision = excluded.revision
WHERE issue_removals.account_id = $1
RETURNING number;

-- name: tombstones
-- Of these numbers, those that were deleted.
SELECT number FROM issue_removals
WHERE account_id = $1 AND repository_id = $2 AND number = ANY($3::integer[]) AND kind = 'deleted' ORDER BY number;

-- name: count
-- How many issues are stored.
SELECT count(*) FROM issues WHERE account_id = $1 AND repository_id = $2;

-- name: list
-- A page of issues by number, without vectors and words.
SELECT repository_id, number, github_id, title, body, state, state_reason, author, author_id, author_is_bot, labels,
       is_pull_request, locked, reactions, created_at, updated_at, closed_at
FROM issues
WHERE account_id = $1 AND repository_id = $2 AND number > $4 AND ($3::text IS NULL OR state = $3)
ORDER BY number LIMIT $5;
