-- What people with the right to say so want of the bot, against its back-test: `/dejaview pause` and `resume`.

ALTER TABLE repositories
    ADD COLUMN override text CHECK (override IN ('shadow', 'comment')),
    ADD COLUMN override_until timestamptz,
    ADD CHECK (override_until IS NULL OR override = 'shadow');

GRANT UPDATE (override, override_until) ON repositories TO deja_view_app;
