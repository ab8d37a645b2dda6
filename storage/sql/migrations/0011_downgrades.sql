-- A downgrade deletes nothing at once: what the smaller tier has no room for is kept for 30 days.

ALTER TABLE accounts ADD COLUMN shrunk_at timestamptz;

ALTER TABLE repositories ADD COLUMN frozen_at timestamptz;

CREATE INDEX accounts_shrunk ON accounts (shrunk_at) WHERE shrunk_at IS NOT NULL;
CREATE INDEX repositories_frozen ON repositories (frozen_at) WHERE frozen_at IS NOT NULL;

GRANT UPDATE (frozen_at) ON repositories TO deja_view_app;

-- What is frozen already has its notice from now on. As a role that a policy lets see rows: their owner is not.
SET LOCAL ROLE deja_view_system;
UPDATE repositories SET
    frozen_at = now(),
    reason = reason || ' Its index is kept until '
             || to_char((now() + interval '30 days') AT TIME ZONE 'UTC', 'FMDD FMMonth YYYY') || '.'
WHERE over_limit AND (revision > 0 OR indexed_at IS NOT NULL);
RESET ROLE;
