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
