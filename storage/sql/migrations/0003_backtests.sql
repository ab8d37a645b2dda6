-- What a repository's own past says: which issues people marked as duplicates, and what the bot would have done.

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

DO $$
DECLARE
    owned text;
BEGIN
    FOREACH owned IN ARRAY ARRAY['duplicate_marks', 'backtests'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', owned);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', owned);
        EXECUTE format('CREATE POLICY account ON %I TO deja_view_app USING (account_id = nullif(current_setting(''app.account'', true), '''')::bigint) '
                       'WITH CHECK (account_id = nullif(current_setting(''app.account'', true), '''')::bigint)', owned);
        EXECUTE format('CREATE POLICY system ON %I TO deja_view_system USING (true) WITH CHECK (true)', owned);
    END LOOP;
END
$$;

GRANT SELECT, INSERT, UPDATE, DELETE ON duplicate_marks, backtests TO deja_view_app;
