-- What the API shows and lets people set.

-- Whether anybody may search a public repository without a credential: its people decide.
ALTER TABLE repositories ADD COLUMN public_search boolean NOT NULL DEFAULT false;

GRANT UPDATE (public_search) ON repositories TO deja_view_app;

-- An account may learn how far the index of its repositories is.
GRANT SELECT (id, account_id, kind, payload, state, progress) ON jobs TO deja_view_app;
