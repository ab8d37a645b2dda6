-- name: take
-- One call against a limit ($2) in any 60 seconds. Whoever comes at the same time waits for the row and only then asks for
-- the time, so that the times in it are those at which calls were allowed, in their order. What lies ahead of the clock by
-- more than a minute is from before it was set back.
INSERT INTO call_windows AS old (key, calls, allowed, seen_at)
VALUES ($1, ARRAY[clock_timestamp()], true, clock_timestamp())
ON CONFLICT (key) DO UPDATE SET (calls, allowed, seen_at) = (
    SELECT CASE WHEN cardinality(recent) < $2 THEN recent || at ELSE recent END, cardinality(recent) < $2, at
    FROM (SELECT at, ARRAY(
              SELECT call FROM unnest(old.calls) AS call
              WHERE call > at - interval '1 minute' AND call < at + interval '1 minute' ORDER BY call) AS recent
          FROM (SELECT clock_timestamp() AS at) AS clock) AS counted)
RETURNING allowed, $2::integer AS allowance, cardinality(calls) AS taken, seen_at AS at, calls[cardinality(calls)] AS last,
          calls[cardinality(calls) - $2 + 1] AS blocking;

-- name: take_call
-- The same against the tier of an account ($1), or the default one ($2) where it is not known; what is allowed is counted as
-- usage.
WITH tier AS (
    SELECT api_calls AS allowance FROM tiers WHERE name = coalesce((SELECT tier FROM accounts WHERE id = $1), $2)
), window_ AS (
    INSERT INTO call_windows AS old (key, calls, allowed, seen_at)
    VALUES ('account:' || $1::bigint, ARRAY[clock_timestamp()], true, clock_timestamp())
    ON CONFLICT (key) DO UPDATE SET (calls, allowed, seen_at) = (
        SELECT CASE WHEN cardinality(recent) < allowance THEN recent || at ELSE recent END, cardinality(recent) < allowance, at
        FROM (SELECT at, allowance, ARRAY(
                  SELECT call FROM unnest(old.calls) AS call
                  WHERE call > at - interval '1 minute' AND call < at + interval '1 minute' ORDER BY call) AS recent
              FROM (SELECT clock_timestamp() AS at) AS clock, tier) AS counted)
    RETURNING calls, allowed, seen_at
), used AS (
    INSERT INTO usage (account_id, day, metric, amount)
    SELECT $1, (seen_at AT TIME ZONE 'UTC')::date, 'api_calls', 1 FROM window_ WHERE allowed
    ON CONFLICT (account_id, day, metric) DO UPDATE SET amount = usage.amount + excluded.amount
)
SELECT allowed, allowance, cardinality(calls) AS taken, seen_at AS at, calls[cardinality(calls)] AS last,
       calls[cardinality(calls) - allowance + 1] AS blocking
FROM window_, tier;

-- name: peek
-- What a call would find; nothing is written.
SELECT cardinality(recent) < $2 AS allowed, $2::integer AS allowance, cardinality(recent) AS taken, at,
       recent[cardinality(recent)] AS last, recent[cardinality(recent) - $2 + 1] AS blocking
FROM (SELECT at, ARRAY(
          SELECT call FROM unnest((SELECT calls FROM call_windows WHERE key = $1)) AS call
          WHERE call > at - interval '1 minute' AND call < at + interval '1 minute' ORDER BY call) AS recent
      FROM (SELECT clock_timestamp() AS at) AS clock) AS counted;
