-- What is done again and again, what GitHub could not deliver, and up to when each repository was brought up to date.

CREATE TABLE periodic (
    kind text PRIMARY KEY,
    due_at timestamptz NOT NULL,
    done_at timestamptz NOT NULL DEFAULT now(),
    progress jsonb NOT NULL DEFAULT '{}'
);

CREATE TABLE missed_deliveries (
    id uuid PRIMARY KEY,
    attempt_id bigint NOT NULL,
    event text NOT NULL,
    action text,
    installation_id bigint,
    repository_id bigint,
    answered boolean NOT NULL,
    delivered_at timestamptz NOT NULL,
    settled boolean NOT NULL DEFAULT false,
    asked integer NOT NULL DEFAULT 0,
    asked_at timestamptz
);
CREATE INDEX missed_deliveries_time ON missed_deliveries (delivered_at);

-- Whether deliveries arrive at all is asked before any is wanted again.
CREATE INDEX deliveries_received ON deliveries (received_at);

ALTER TABLE repositories ADD COLUMN synced_at timestamptz;

GRANT SELECT, INSERT, UPDATE, DELETE ON periodic, missed_deliveries TO deja_view_system;
GRANT UPDATE (synced_at) ON repositories TO deja_view_app;
GRANT SELECT (day), DELETE ON usage TO deja_view_system;
