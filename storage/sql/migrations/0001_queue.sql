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

GRANT SELECT, INSERT, UPDATE, DELETE ON deliveries, jobs TO deja_view_system;
