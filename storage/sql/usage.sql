-- name: add
-- Count for today, in UTC.
INSERT INTO usage (account_id, day, metric, amount) VALUES ($1, (now() AT TIME ZONE 'UTC')::date, $2, $3)
ON CONFLICT (account_id, day, metric) DO UPDATE SET amount = usage.amount + excluded.amount;

-- name: read
-- The last days ($2), today among them, in UTC.
SELECT day, metric, amount FROM usage
WHERE account_id = $1 AND day > (now() AT TIME ZONE 'UTC')::date - $2::integer
ORDER BY day DESC, metric;

-- name: purge
-- Totals of days that are long ago, of every account.
DELETE FROM usage WHERE day < ((now() AT TIME ZONE 'UTC') - $1::interval)::date;
