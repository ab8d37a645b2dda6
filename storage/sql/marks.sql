-- name: save
-- Marks by number, the last one holds; nothing where the repository is gone.
INSERT INTO duplicate_marks (repository_id, account_id, number, original)
SELECT repositories.id, $1, given.number, given.original
FROM repositories, unnest($3::integer[], $4::integer[]) AS given (number, original)
WHERE repositories.account_id = $1 AND repositories.id = $2
ON CONFLICT (repository_id, number) DO UPDATE SET original = excluded.original WHERE duplicate_marks.account_id = $1;

-- name: all
-- Every mark of a repository.
SELECT number, original FROM duplicate_marks WHERE account_id = $1 AND repository_id = $2;

-- name: remove
-- Forget that an issue is a duplicate of another one ($4), or of any.
DELETE FROM duplicate_marks
WHERE account_id = $1 AND repository_id = $2 AND number = $3 AND ($4::integer IS NULL OR original = $4);
