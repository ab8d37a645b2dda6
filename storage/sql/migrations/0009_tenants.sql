-- Tenants and the API: who may call, how often, what came of it, and who signed in.

-- Set by people, and taken back by people alone: no event and no room in the tier lets such a repository in.
ALTER TABLE repositories
    ADD COLUMN deactivated boolean NOT NULL DEFAULT false,
    ADD CHECK (state = 'inactive' OR NOT deactivated),
    ADD CHECK (NOT (deactivated AND over_limit));

CREATE INDEX accounts_login ON accounts (lower(login));
CREATE INDEX suggestions_decided ON suggestions (repository_id, decided_at, issue_number);
CREATE INDEX outcomes_order ON outcomes (repository_id, id);

ALTER TABLE usage DROP CONSTRAINT usage_metric_check,
    ADD CONSTRAINT usage_metric_check
        CHECK (metric IN ('indexed_issues', 'suggestions', 'comments', 'commands', 'api_calls'));

-- Keys of the API. The secret has 256 random bits, so that its SHA-256 is all that has to be kept of it.
CREATE TABLE api_keys (
    id text PRIMARY KEY,
    account_id bigint NOT NULL REFERENCES accounts (id),
    name text NOT NULL,
    digest bytea NOT NULL CHECK (octet_length(digest) = 32),
    scope text NOT NULL CHECK (scope IN ('read', 'write', 'admin')),
    repository_id bigint, -- null: all of the account's
    created_by bigint, -- a person on GitHub; null: the operator
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    last_used_at timestamptz,
    revoked_at timestamptz,
    FOREIGN KEY (repository_id, account_id) REFERENCES repositories (id, account_id) ON DELETE CASCADE
);
CREATE INDEX api_keys_account ON api_keys (account_id, created_at);
CREATE INDEX api_keys_repository ON api_keys (repository_id);

-- Tokens that were taken back before their end.
CREATE TABLE revoked_tokens (
    account_id bigint NOT NULL,
    jti text NOT NULL,
    until timestamptz NOT NULL,
    PRIMARY KEY (account_id, jti)
);
CREATE INDEX revoked_tokens_until ON revoked_tokens (until);

-- Calls of the last minute, by whom they are counted for: 'account:5', 'address:203.0.113.7'. An account's own transaction
-- reaches its own row.
CREATE TABLE call_windows (
    key text PRIMARY KEY,
    calls timestamptz[] NOT NULL, -- those that were allowed, oldest first
    allowed boolean NOT NULL, -- whether the last one was
    seen_at timestamptz NOT NULL -- when the last one came
);
-- A thousand of them do not compress well enough to pay for trying at every call.
ALTER TABLE call_windows ALTER COLUMN calls SET STORAGE EXTERNAL;
CREATE INDEX call_windows_seen ON call_windows (seen_at);

-- Requests that may be made twice and have an effect once.
CREATE TABLE idempotency_keys (
    account_id bigint NOT NULL,
    key text NOT NULL CHECK (length(key) BETWEEN 1 AND 255),
    fingerprint bytea NOT NULL CHECK (octet_length(fingerprint) = 32),
    status smallint,
    body bytea,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (account_id, key),
    CHECK ((status IS NULL) = (body IS NULL)) -- null: being worked on
);
CREATE INDEX idempotency_keys_created ON idempotency_keys (created_at);

-- Who did what. No role may change a line, and none may delete one before its time.
CREATE TABLE audit_log (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id bigint, -- null: no account's, such as a sign-in
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor text NOT NULL CHECK (actor IN ('user', 'api_key', 'actions', 'operator', 'system')),
    actor_id bigint,
    action text NOT NULL,
    subject text NOT NULL,
    result text NOT NULL CHECK (result IN ('ok', 'refused', 'failed')),
    address inet,
    details jsonb NOT NULL
);
CREATE INDEX audit_log_account ON audit_log (account_id, id);
CREATE INDEX audit_log_at ON audit_log (at);

-- People who signed in. They belong to no account, so only the system role touches them. Tokens are sealed before they
-- come here.
CREATE TABLE users (
    id bigint PRIMARY KEY CHECK (id > 0),
    login text NOT NULL,
    access_token bytea NOT NULL,
    refresh_token bytea,
    access_expires_at timestamptz,
    refresh_expires_at timestamptz,
    refreshing_until timestamptz, -- whose turn it is to have the tokens renewed ends then, should its process die
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE sessions (
    digest bytea PRIMARY KEY CHECK (octet_length(digest) = 32),
    user_id bigint NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    last_seen_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX sessions_user ON sessions (user_id);
CREATE INDEX sessions_expires ON sessions (expires_at);

CREATE TABLE login_states (
    digest bytea PRIMARY KEY CHECK (octet_length(digest) = 32),
    verifier text NOT NULL,
    next text NOT NULL,
    expires_at timestamptz NOT NULL
);
CREATE INDEX login_states_expires ON login_states (expires_at);

DO $$
DECLARE
    owned text;
    own CONSTANT text := 'account_id = nullif(current_setting(''app.account'', true), '''')::bigint';
BEGIN
    FOREACH owned IN ARRAY ARRAY['api_keys', 'revoked_tokens', 'idempotency_keys'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', owned);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', owned);
        EXECUTE format('CREATE POLICY account ON %I TO deja_view_app USING (%s) WITH CHECK (%s)', owned, own, own);
        EXECUTE format('CREATE POLICY system ON %I TO deja_view_system USING (true) WITH CHECK (true)', owned);
    END LOOP;
END
$$;

ALTER TABLE call_windows ENABLE ROW LEVEL SECURITY;
ALTER TABLE call_windows FORCE ROW LEVEL SECURITY;
CREATE POLICY account ON call_windows TO deja_view_app
    USING (key = 'account:' || nullif(current_setting('app.account', true), ''))
    WITH CHECK (key = 'account:' || nullif(current_setting('app.account', true), ''));
CREATE POLICY system ON call_windows TO deja_view_system USING (true) WITH CHECK (true);

ALTER TABLE audit_log ENABLE ROW LEVEL SECURITY;
ALTER TABLE audit_log FORCE ROW LEVEL SECURITY;
CREATE POLICY account ON audit_log TO deja_view_app
    USING (account_id = nullif(current_setting('app.account', true), '')::bigint)
    WITH CHECK (account_id = nullif(current_setting('app.account', true), '')::bigint);
CREATE POLICY system_adds ON audit_log FOR INSERT TO deja_view_system WITH CHECK (true);
CREATE POLICY system_looks ON audit_log FOR SELECT TO deja_view_system USING (true);
CREATE POLICY system_forgets ON audit_log FOR DELETE TO deja_view_system USING (at < now() - interval '400 days');

GRANT SELECT, INSERT ON api_keys, revoked_tokens, audit_log TO deja_view_app;
GRANT UPDATE (last_used_at, revoked_at) ON api_keys TO deja_view_app;
GRANT SELECT, INSERT, UPDATE ON call_windows TO deja_view_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON idempotency_keys TO deja_view_app;

GRANT SELECT, INSERT, DELETE ON api_keys TO deja_view_system;
GRANT SELECT (until), DELETE ON revoked_tokens TO deja_view_system;
GRANT SELECT, INSERT, UPDATE, DELETE ON call_windows, users, sessions, login_states TO deja_view_system;
-- What was answered is not the system's business, nor what an account did: it forgets both in time.
GRANT SELECT (account_id, created_at), DELETE ON idempotency_keys TO deja_view_system;
GRANT SELECT (at), INSERT, DELETE ON audit_log TO deja_view_system;
