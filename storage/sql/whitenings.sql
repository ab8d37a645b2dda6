-- name: save
-- The last whitening of a repository; nothing where the repository is gone.
INSERT INTO whitenings (repository_id, account_id, basis, fitted)
SELECT id, $1, $3, $4 FROM repositories WHERE account_id = $1 AND id = $2
ON CONFLICT (repository_id) DO UPDATE SET basis = excluded.basis, fitted = excluded.fitted
WHERE whitenings.account_id = $1;

-- name: get
-- The last whitening of a repository, where it was fitted to this basis.
SELECT fitted FROM whitenings WHERE account_id = $1 AND repository_id = $2 AND basis = $3;
