-- What a history is made of, kept beside the text it was read from, so that a repository that nobody asked about for a
-- while answers at once.

ALTER TABLE issues
    ADD COLUMN terms bytea CHECK (octet_length(terms) % 10 = 0),
    ADD COLUMN lines bytea CHECK (octet_length(lines) % 4 = 0),
    ADD COLUMN thin boolean,
    ADD COLUMN scorer text,
    ADD CHECK ((scorer IS NULL) = (terms IS NULL) AND (scorer IS NULL) = (lines IS NULL) AND (scorer IS NULL) = (thin IS NULL)),
    ADD CHECK (scorer IS NULL OR model IS NOT NULL);
-- Hashes do not compress.
ALTER TABLE issues ALTER COLUMN terms SET STORAGE EXTERNAL, ALTER COLUMN lines SET STORAGE EXTERNAL;

CREATE TABLE whitenings (
    repository_id bigint PRIMARY KEY,
    account_id bigint NOT NULL,
    basis bytea NOT NULL CHECK (octet_length(basis) = 32),
    fitted bytea NOT NULL CHECK (octet_length(fitted) = 592896),
    FOREIGN KEY (repository_id, account_id) REFERENCES repositories (id, account_id) ON DELETE CASCADE
);
ALTER TABLE whitenings ALTER COLUMN fitted SET STORAGE EXTERNAL;

ALTER TABLE whitenings ENABLE ROW LEVEL SECURITY;
ALTER TABLE whitenings FORCE ROW LEVEL SECURITY;
CREATE POLICY account ON whitenings TO deja_view_app
    USING (account_id = nullif(current_setting('app.account', true), '')::bigint)
    WITH CHECK (account_id = nullif(current_setting('app.account', true), '')::bigint);
CREATE POLICY system ON whitenings TO deja_view_system USING (true) WITH CHECK (true);

GRANT SELECT, INSERT, UPDATE, DELETE ON whitenings TO deja_view_app;
