-- name: revoked_tokens
-- Tokens that would have ended by themselves.
DELETE FROM revoked_tokens WHERE until < now();

-- name: call_windows
-- Windows in which no call is left.
DELETE FROM call_windows WHERE seen_at < now() - interval '2 minutes';

-- name: idempotency_keys
-- Answers of yesterday.
DELETE FROM idempotency_keys WHERE created_at < now() - interval '24 hours';

-- name: api_keys
-- Keys that ended so long ago that nobody asks for them.
DELETE FROM api_keys WHERE revoked_at < now() - interval '30 days' OR expires_at < now() - interval '30 days';

-- name: sessions
-- Sessions that are over.
DELETE FROM sessions WHERE expires_at < now();

-- name: users
-- People who are signed in nowhere. Who signs in just now is saved before their session.
DELETE FROM users WHERE updated_at < now() - interval '1 hour' AND NOT EXISTS (SELECT FROM sessions WHERE user_id = users.id);

-- name: login_states
-- Sign-ins that nobody ended.
DELETE FROM login_states WHERE expires_at < now();

-- name: audit_log
-- Lines whose time is over; the policy would keep the others.
DELETE FROM audit_log WHERE at < now() - interval '400 days';
