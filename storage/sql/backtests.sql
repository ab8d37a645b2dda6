-- name: save
-- The last back-test of a repository; nothing where the repository is gone.
INSERT INTO backtests (repository_id, account_id, model, verdict, report, made_at)
SELECT id, $1, $3, $4, $5, clock_timestamp() FROM repositories WHERE account_id = $1 AND id = $2
ON CONFLICT (repository_id) DO UPDATE SET
    model = excluded.model, verdict = excluded.verdict, report = excluded.report, made_at = excluded.made_at
WHERE backtests.account_id = $1;

-- name: get
-- The last back-test of a repository.
SELECT model, verdict, report, made_at FROM backtests WHERE account_id = $1 AND repository_id = $2;
