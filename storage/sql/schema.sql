-- The whole schema as all migrations leave it, to be read in one place; a test holds it to them. Nothing is made from this
-- file: databases are made by storage/sql/migrations, the two roles by roles.sql.

-- Hop 4 and 5: what GitHub delivered, and the work that follows from it. Both span accounts, so only the system role
-- touches them.

CREATE TABLE deliveries (
    id uuid PRIMARY KEY,
    event text NOT NULL,
    action text,
    installation_id bigint,
    repository_id bigint,
    body bytea NOT NULL,
    body_sha256 bytea NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now(),
    done_at timestamptz
);
-- Bodies are compressed by nobody: at intake the processor is what is short.
ALTER TABLE deliveries ALTER COLUMN body SET STORAGE EXTERNAL;
CREATE INDEX deliveries_done ON deliveries (done_at) WHERE done_at IS NOT NULL;
CREATE INDEX deliveries_repository ON deliveries (repository_id);
CREATE INDEX deliveries_installation ON deliveries (installation_id);
-- Whether deliveries arrive at all is asked before any is wanted again.
CREATE INDEX deliveries_received ON deliveries (received_at);

CREATE TABLE jobs (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text NOT NULL,
    lane smallint NOT NULL,
    account_id bigint,
    serial text,
    dedupe text,
    payload jsonb NOT NULL DEFAULT '{}',
    delivery_id uuid REFERENCES deliveries (id) ON DELETE SET NULL,
    progress jsonb NOT NULL DEFAULT '{}',
    state text NOT NULL DEFAULT 'ready' CHECK (state IN ('ready', 'running', 'done', 'dead')),
    attempt integer NOT NULL DEFAULT 0,
    max_attempts integer NOT NULL,
    run_at timestamptz NOT NULL DEFAULT now(),
    worker uuid,
    lease_until timestamptz,
    reason text,
    enqueued_at timestamptz NOT NULL DEFAULT now(),
    ended_at timestamptz,
    -- A lease without an owner, or an owner without a lease, would be claimed by nobody or by everybody.
    CHECK ((state = 'running') = (worker IS NOT NULL AND lease_until IS NOT NULL))
);
CREATE INDEX jobs_ready ON jobs (lane, run_at, id) WHERE state = 'ready';
CREATE INDEX jobs_leased ON jobs (lease_until) WHERE state = 'running';
CREATE INDEX jobs_ended ON jobs (ended_at) WHERE state IN ('done', 'dead');
CREATE INDEX jobs_account ON jobs (account_id) WHERE state IN ('ready', 'running');
CREATE UNIQUE INDEX jobs_one_running ON jobs (serial) WHERE state = 'running';
CREATE UNIQUE INDEX jobs_one_waiting ON jobs (dedupe) WHERE state = 'ready';

ALTER TABLE jobs ENABLE ROW LEVEL SECURITY;
ALTER TABLE jobs FORCE ROW LEVEL SECURITY;
CREATE POLICY account ON jobs TO deja_view_app
    USING (account_id = nullif(current_setting('app.account', true), '')::bigint)
    WITH CHECK (account_id = nullif(current_setting('app.account', true), '')::bigint);
CREATE POLICY system ON jobs TO deja_view_system USING (true) WITH CHECK (true);

-- What is done again and again: when it is due, when it was last done, and where it goes on.
CREATE TABLE periodic (
    kind text PRIMARY KEY,
    due_at timestamptz NOT NULL,
    done_at timestamptz NOT NULL DEFAULT now(), -- at first, when the kind became known
    progress jsonb NOT NULL DEFAULT '{}'
);

-- Deliveries in GitHub's log that are not in ours. Without content.
CREATE TABLE missed_deliveries (
    id uuid PRIMARY KEY,
    attempt_id bigint NOT NULL, -- GitHub's name of one of its requests, by which it is asked for again
    event text NOT NULL,
    action text,
    installation_id bigint,
    repository_id bigint,
    answered boolean NOT NULL, -- GitHub says that we took it
    delivered_at timestamptz NOT NULL,
    settled boolean NOT NULL DEFAULT false, -- looked at: nothing is missing
    asked integer NOT NULL DEFAULT 0,
    asked_at timestamptz
);
CREATE INDEX missed_deliveries_time ON missed_deliveries (delivered_at);

GRANT SELECT, INSERT, UPDATE, DELETE ON deliveries, jobs, periodic, missed_deliveries TO deja_view_system;

-- How fast each installation may be written to, and until when it is left alone. GitHub counts all processes together, so
-- they decide here. No content, and no account: only the system role touches it.
CREATE TABLE paces (
    installation_id bigint PRIMARY KEY CHECK (installation_id > 0),
    holder uuid, -- whose turn it is to write
    held_until timestamptz, -- when that turn runs out, should its process die
    comments boolean NOT NULL DEFAULT false, -- whether the last write is a comment
    ended timestamptz[] NOT NULL DEFAULT '{}', -- the writes of the last hour, oldest first
    comment_at timestamptz, -- the last comment
    place timestamptz, -- the last moment that was given to somebody who has to come back
    resume_at timestamptz,
    pause_length double precision,
    secondary boolean,
    CHECK ((holder IS NULL) = (held_until IS NULL)),
    CHECK ((resume_at IS NULL) = (pause_length IS NULL) AND (resume_at IS NULL) = (secondary IS NULL))
);
GRANT SELECT, INSERT, UPDATE, DELETE ON paces TO deja_view_system;

-- Everything that belongs to an account. Deleting a repository's row takes all of its rows along, and a row can only
-- name a repository of its own account: both by foreign key.

CREATE TABLE tiers (
    name text PRIMARY KEY,
    repositories integer NOT NULL CHECK (repositories > 0),
    issues integer NOT NULL CHECK (issues > 0),
    api_calls integer NOT NULL CHECK (api_calls > 0)
);
INSERT INTO tiers (name, repositories, issues, api_calls)
VALUES ('free', 3, 100, 10), ('pro', 50, 1000, 100), ('enterprise', 500, 10000, 1000);

CREATE TABLE accounts (
    id bigint PRIMARY KEY CHECK (id > 0),
    login text NOT NULL,
    kind text NOT NULL,
    tier text NOT NULL REFERENCES tiers (name),
    created_at timestamptz NOT NULL DEFAULT now(),
    -- Set while the App is not installed. The row stays, without its login, so that a paid tier survives a re-install.
    removed_at timestamptz,
    shrunk_at timestamptz, -- when it came to a tier of fewer issues: until 30 days later no issue leaves because of that
    CHECK (removed_at IS NULL OR login = '')
);
CREATE INDEX accounts_login ON accounts (lower(login));
CREATE INDEX accounts_shrunk ON accounts (shrunk_at) WHERE shrunk_at IS NOT NULL;

-- Ids that were removed are kept: an event that comes late must not bring an installation back.
CREATE TABLE installations (
    id bigint PRIMARY KEY CHECK (id > 0),
    account_id bigint NOT NULL,
    state text NOT NULL CHECK (state IN ('active', 'suspended', 'needs_permission', 'removed')),
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX installations_one_living ON installations (account_id) WHERE state <> 'removed';

CREATE TABLE repositories (
    id bigint PRIMARY KEY CHECK (id > 0),
    account_id bigint NOT NULL REFERENCES accounts (id),
    installation_id bigint NOT NULL REFERENCES installations (id),
    owner text NOT NULL,
    name text NOT NULL,
    private boolean NOT NULL,
    collection text NOT NULL UNIQUE CHECK (octet_length(collection) <= 128),
    state text NOT NULL CHECK (state IN ('pending', 'indexing', 'active', 'inactive')),
    reason text,
    over_limit boolean NOT NULL DEFAULT false, -- inactive because of the tier, and for no other reason
    indexed_at timestamptz,
    issues_total integer,
    issues_indexed integer NOT NULL DEFAULT 0,
    revision bigint NOT NULL DEFAULT 0,
    threshold double precision,
    threshold_model text,
    config_notice text,
    added_at timestamptz NOT NULL DEFAULT now(),
    synced_at timestamptz, -- up to when all changes are known, whether events told of them or not
    override text CHECK (override IN ('shadow', 'comment')), -- by command, against the back-test
    override_until timestamptz,
    deactivated boolean NOT NULL DEFAULT false, -- by people, and activated by people alone: no event lets it in
    public_search boolean NOT NULL DEFAULT false, -- whether anybody may search it, while it is public
    frozen_at timestamptz, -- while it is over the limit: since when it is so with an index, which is purged 30 days later
    UNIQUE (id, account_id),
    CHECK ((state = 'inactive') = (reason IS NOT NULL)),
    CHECK (state = 'inactive' OR NOT over_limit),
    CHECK ((threshold IS NULL) = (threshold_model IS NULL)),
    CHECK (override_until IS NULL OR override = 'shadow'),
    CHECK (state = 'inactive' OR NOT deactivated),
    CHECK (NOT (deactivated AND over_limit))
);
CREATE INDEX repositories_account ON repositories (account_id);
CREATE INDEX repositories_installation ON repositories (installation_id);
CREATE INDEX repositories_frozen ON repositories (frozen_at) WHERE frozen_at IS NOT NULL;

CREATE TABLE issues (
    repository_id bigint NOT NULL,
    number integer NOT NULL CHECK (number > 0),
    account_id bigint NOT NULL,
    github_id bigint NOT NULL,
    title text NOT NULL,
    body text NOT NULL,
    state text NOT NULL CHECK (state IN ('open', 'closed')),
    state_reason text,
    author text,
    author_id bigint,
    author_is_bot boolean NOT NULL,
    labels jsonb NOT NULL,
    is_pull_request boolean NOT NULL,
    locked boolean NOT NULL,
    reactions integer NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    closed_at timestamptz,
    content_hash bytea NOT NULL CHECK (octet_length(content_hash) = 32),
    -- 384 float32, little-endian
    title_vector bytea CHECK (octet_length(title_vector) = 1536),
    text_vector bytea CHECK (octet_length(text_vector) = 1536),
    model text,
    revision bigint NOT NULL,
    -- The words as hashes, by what made them: 10 bytes a term, 4 a line. Null until embedded, and where they are of another text.
    terms bytea CHECK (octet_length(terms) % 10 = 0),
    lines bytea CHECK (octet_length(lines) % 4 = 0),
    thin boolean,
    scorer text,
    PRIMARY KEY (repository_id, number),
    FOREIGN KEY (repository_id, account_id) REFERENCES repositories (id, account_id) ON DELETE CASCADE,
    CHECK ((model IS NULL) = (title_vector IS NULL) AND (model IS NULL) = (text_vector IS NULL)),
    CHECK ((scorer IS NULL) = (terms IS NULL) AND (scorer IS NULL) = (lines IS NULL) AND (scorer IS NULL) = (thin IS NULL)),
    CHECK (scorer IS NULL OR model IS NOT NULL)
);
CREATE INDEX issues_revision ON issues (repository_id, revision, number);
CREATE INDEX issues_usefulness ON issues (repository_id, (state = 'open'), updated_at, number);
-- Vectors do not compress: trying would cost processor time for nothing.
ALTER TABLE issues ALTER COLUMN title_vector SET STORAGE EXTERNAL, ALTER COLUMN text_vector SET STORAGE EXTERNAL;
-- Nor do hashes.
ALTER TABLE issues ALTER COLUMN terms SET STORAGE EXTERNAL, ALTER COLUMN lines SET STORAGE EXTERNAL;

-- Issues that left, without content. A deleted one is a tombstone; an evicted one, which made room, may come back.
CREATE TABLE issue_removals (
    repository_id bigint NOT NULL,
    number integer NOT NULL CHECK (number > 0),
    account_id bigint NOT NULL,
    kind text NOT NULL CHECK (kind IN ('deleted', 'evicted')),
    github_id bigint, -- null where it was deleted before we ever saw it
    removed_at timestamptz NOT NULL,
    revision bigint NOT NULL,
    PRIMARY KEY (repository_id, number),
    FOREIGN KEY (repository_id, account_id) REFERENCES repositories (id, account_id) ON DELETE CASCADE
);

CREATE TABLE suggestions (
    account_id bigint NOT NULL,
    repository_id bigint NOT NULL,
    issue_number integer NOT NULL CHECK (issue_number > 0),
    spoken boolean NOT NULL,
    reason text NOT NULL,
    threshold double precision NOT NULL,
    model text NOT NULL,
    likely integer[] NOT NULL,
    also integer[] NOT NULL,
    evidence jsonb NOT NULL,
    content_hash bytea NOT NULL CHECK (octet_length(content_hash) = 32),
    decided_at timestamptz NOT NULL,
    degraded text, -- what was missing when it was made; null: nothing
    PRIMARY KEY (repository_id, issue_number),
    FOREIGN KEY (repository_id, account_id) REFERENCES repositories (id, account_id) ON DELETE CASCADE
);
CREATE INDEX suggestions_decided ON suggestions (repository_id, decided_at, issue_number);

CREATE TABLE outcomes (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id bigint NOT NULL,
    repository_id bigint NOT NULL,
    issue_number integer NOT NULL CHECK (issue_number > 0),
    candidate integer, -- null: the suggestion as a whole
    kind text NOT NULL CHECK (kind IN ('confirmed', 'rejected', 'ignored', 'missed')),
    actor_id bigint,
    source text NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE NULLS NOT DISTINCT (repository_id, issue_number, candidate, kind, actor_id),
    FOREIGN KEY (repository_id, account_id) REFERENCES repositories (id, account_id) ON DELETE CASCADE
);
CREATE INDEX outcomes_order ON outcomes (repository_id, id);

CREATE TABLE effects (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id bigint NOT NULL,
    repository_id bigint NOT NULL,
    issue_number integer NOT NULL CHECK (issue_number >= 0), -- 0: about the repository as a whole
    key text NOT NULL,
    state text NOT NULL CHECK (state IN ('intent', 'sending', 'done', 'cancelled')),
    body text NOT NULL,
    github_id bigint,
    first_done_at timestamptz, -- an edit does not move it
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (repository_id, issue_number, key),
    FOREIGN KEY (repository_id, account_id) REFERENCES repositories (id, account_id) ON DELETE CASCADE
);

CREATE TABLE duplicate_marks (
    repository_id bigint NOT NULL,
    number integer NOT NULL CHECK (number > 0),
    account_id bigint NOT NULL,
    original integer NOT NULL CHECK (original > 0),
    PRIMARY KEY (repository_id, number),
    FOREIGN KEY (repository_id, account_id) REFERENCES repositories (id, account_id) ON DELETE CASCADE,
    CHECK (original <> number)
);

CREATE TABLE backtests (
    repository_id bigint PRIMARY KEY,
    account_id bigint NOT NULL,
    model text NOT NULL,
    verdict text NOT NULL CHECK (verdict IN ('comment', 'shadow')),
    report jsonb NOT NULL,
    made_at timestamptz NOT NULL,
    FOREIGN KEY (repository_id, account_id) REFERENCES repositories (id, account_id) ON DELETE CASCADE
);

-- How each repository's vectors were last whitened, and to which of them that was fitted: statistics without any text.
CREATE TABLE whitenings (
    repository_id bigint PRIMARY KEY,
    account_id bigint NOT NULL,
    basis bytea NOT NULL CHECK (octet_length(basis) = 32),
    fitted bytea NOT NULL CHECK (octet_length(fitted) = 592896),
    FOREIGN KEY (repository_id, account_id) REFERENCES repositories (id, account_id) ON DELETE CASCADE
);
ALTER TABLE whitenings ALTER COLUMN fitted SET STORAGE EXTERNAL;

-- Totals without content: they outlive the account's other rows.
CREATE TABLE usage (
    account_id bigint NOT NULL,
    day date NOT NULL, -- in UTC
    metric text NOT NULL CHECK (metric IN ('indexed_issues', 'suggestions', 'comments', 'commands', 'api_calls')),
    amount bigint NOT NULL CHECK (amount >= 0),
    PRIMARY KEY (account_id, day, metric)
);

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

-- Deliveries are purged with what they are about, and each takes its job's reference along.
CREATE INDEX jobs_delivery ON jobs (delivery_id) WHERE delivery_id IS NOT NULL;

-- Row-level security: an account's transaction sees its own rows, the system's sees all.

ALTER TABLE accounts ENABLE ROW LEVEL SECURITY;
ALTER TABLE accounts FORCE ROW LEVEL SECURITY;
CREATE POLICY account ON accounts TO deja_view_app
    USING (id = nullif(current_setting('app.account', true), '')::bigint)
    WITH CHECK (id = nullif(current_setting('app.account', true), '')::bigint);
CREATE POLICY system ON accounts TO deja_view_system USING (true) WITH CHECK (true);

ALTER TABLE installations ENABLE ROW LEVEL SECURITY;
ALTER TABLE installations FORCE ROW LEVEL SECURITY;
CREATE POLICY account ON installations TO deja_view_app
    USING (account_id = nullif(current_setting('app.account', true), '')::bigint)
    WITH CHECK (account_id = nullif(current_setting('app.account', true), '')::bigint);
CREATE POLICY system ON installations TO deja_view_system USING (true) WITH CHECK (true);

ALTER TABLE repositories ENABLE ROW LEVEL SECURITY;
ALTER TABLE repositories FORCE ROW LEVEL SECURITY;
CREATE POLICY account ON repositories TO deja_view_app
    USING (account_id = nullif(current_setting('app.account', true), '')::bigint)
    WITH CHECK (account_id = nullif(current_setting('app.account', true), '')::bigint);
CREATE POLICY system ON repositories TO deja_view_system USING (true) WITH CHECK (true);

ALTER TABLE issues ENABLE ROW LEVEL SECURITY;
ALTER TABLE issues FORCE ROW LEVEL SECURITY;
CREATE POLICY account ON issues TO deja_view_app
    USING (account_id = nullif(current_setting('app.account', true), '')::bigint)
    WITH CHECK (account_id = nullif(current_setting('app.account', true), '')::bigint);
CREATE POLICY system ON issues TO deja_view_system USING (true) WITH CHECK (true);

ALTER TABLE issue_removals ENABLE ROW LEVEL SECURITY;
ALTER TABLE issue_removals FORCE ROW LEVEL SECURITY;
CREATE POLICY account ON issue_removals TO deja_view_app
    USING (account_id = nullif(current_setting('app.account', true), '')::bigint)
    WITH CHECK (account_id = nullif(current_setting('app.account', true), '')::bigint);
CREATE POLICY system ON issue_removals TO deja_view_system USING (true) WITH CHECK (true);

ALTER TABLE suggestions ENABLE ROW LEVEL SECURITY;
ALTER TABLE suggestions FORCE ROW LEVEL SECURITY;
CREATE POLICY account ON suggestions TO deja_view_app
    USING (account_id = nullif(current_setting('app.account', true), '')::bigint)
    WITH CHECK (account_id = nullif(current_setting('app.account', true), '')::bigint);
CREATE POLICY system ON suggestions TO deja_view_system USING (true) WITH CHECK (true);

ALTER TABLE outcomes ENABLE ROW LEVEL SECURITY;
ALTER TABLE outcomes FORCE ROW LEVEL SECURITY;
CREATE POLICY account ON outcomes TO deja_view_app
    USING (account_id = nullif(current_setting('app.account', true), '')::bigint)
    WITH CHECK (account_id = nullif(current_setting('app.account', true), '')::bigint);
CREATE POLICY system ON outcomes TO deja_view_system USING (true) WITH CHECK (true);

ALTER TABLE effects ENABLE ROW LEVEL SECURITY;
ALTER TABLE effects FORCE ROW LEVEL SECURITY;
CREATE POLICY account ON effects TO deja_view_app
    USING (account_id = nullif(current_setting('app.account', true), '')::bigint)
    WITH CHECK (account_id = nullif(current_setting('app.account', true), '')::bigint);
CREATE POLICY system ON effects TO deja_view_system USING (true) WITH CHECK (true);

ALTER TABLE usage ENABLE ROW LEVEL SECURITY;
ALTER TABLE usage FORCE ROW LEVEL SECURITY;
CREATE POLICY account ON usage TO deja_view_app
    USING (account_id = nullif(current_setting('app.account', true), '')::bigint)
    WITH CHECK (account_id = nullif(current_setting('app.account', true), '')::bigint);
CREATE POLICY system ON usage TO deja_view_system USING (true) WITH CHECK (true);

ALTER TABLE duplicate_marks ENABLE ROW LEVEL SECURITY;
ALTER TABLE duplicate_marks FORCE ROW LEVEL SECURITY;
CREATE POLICY account ON duplicate_marks TO deja_view_app
    USING (account_id = nullif(current_setting('app.account', true), '')::bigint)
    WITH CHECK (account_id = nullif(current_setting('app.account', true), '')::bigint);
CREATE POLICY system ON duplicate_marks TO deja_view_system USING (true) WITH CHECK (true);

ALTER TABLE whitenings ENABLE ROW LEVEL SECURITY;
ALTER TABLE whitenings FORCE ROW LEVEL SECURITY;
CREATE POLICY account ON whitenings TO deja_view_app
    USING (account_id = nullif(current_setting('app.account', true), '')::bigint)
    WITH CHECK (account_id = nullif(current_setting('app.account', true), '')::bigint);
CREATE POLICY system ON whitenings TO deja_view_system USING (true) WITH CHECK (true);

ALTER TABLE backtests ENABLE ROW LEVEL SECURITY;
ALTER TABLE backtests FORCE ROW LEVEL SECURITY;
CREATE POLICY account ON backtests TO deja_view_app
    USING (account_id = nullif(current_setting('app.account', true), '')::bigint)
    WITH CHECK (account_id = nullif(current_setting('app.account', true), '')::bigint);
CREATE POLICY system ON backtests TO deja_view_system USING (true) WITH CHECK (true);

ALTER TABLE api_keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE api_keys FORCE ROW LEVEL SECURITY;
CREATE POLICY account ON api_keys TO deja_view_app
    USING (account_id = nullif(current_setting('app.account', true), '')::bigint)
    WITH CHECK (account_id = nullif(current_setting('app.account', true), '')::bigint);
CREATE POLICY system ON api_keys TO deja_view_system USING (true) WITH CHECK (true);

ALTER TABLE revoked_tokens ENABLE ROW LEVEL SECURITY;
ALTER TABLE revoked_tokens FORCE ROW LEVEL SECURITY;
CREATE POLICY account ON revoked_tokens TO deja_view_app
    USING (account_id = nullif(current_setting('app.account', true), '')::bigint)
    WITH CHECK (account_id = nullif(current_setting('app.account', true), '')::bigint);
CREATE POLICY system ON revoked_tokens TO deja_view_system USING (true) WITH CHECK (true);

ALTER TABLE idempotency_keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE idempotency_keys FORCE ROW LEVEL SECURITY;
CREATE POLICY account ON idempotency_keys TO deja_view_app
    USING (account_id = nullif(current_setting('app.account', true), '')::bigint)
    WITH CHECK (account_id = nullif(current_setting('app.account', true), '')::bigint);
CREATE POLICY system ON idempotency_keys TO deja_view_system USING (true) WITH CHECK (true);

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

-- An account may learn how far the index of its repositories is.
GRANT SELECT (id, account_id, kind, payload, state, progress) ON jobs TO deja_view_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON duplicate_marks, backtests, whitenings TO deja_view_app;
GRANT SELECT ON tiers, accounts, installations, repositories, issues, issue_removals, suggestions, outcomes, effects, usage
    TO deja_view_app;
GRANT UPDATE (state) ON installations TO deja_view_app;
-- Whose a repository is, and the name of its collection, are not the application's to change.
GRANT UPDATE (owner, name, private, state, reason, over_limit, indexed_at, issues_total, issues_indexed, revision, threshold,
              threshold_model, config_notice, synced_at, override, override_until, public_search, frozen_at) ON repositories TO deja_view_app;
GRANT INSERT, UPDATE, DELETE ON issues, issue_removals, suggestions, outcomes, effects TO deja_view_app;
GRANT INSERT, UPDATE ON usage TO deja_view_app;

-- The contents of repositories are not the system's business: it deletes them with their repository's row.
GRANT SELECT ON tiers TO deja_view_system;
GRANT SELECT, INSERT, UPDATE ON accounts, installations TO deja_view_system;
GRANT SELECT (day), DELETE ON usage TO deja_view_system;
GRANT SELECT, INSERT, UPDATE, DELETE ON repositories TO deja_view_system;

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
