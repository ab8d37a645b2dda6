-- The two roles under which everything runs. They own nothing and cannot log in, so row-level security binds them.
-- deja_view_app sees one account at a time; deja_view_system works across accounts: queue, inbox, whose an event is.
DO $$
DECLARE
    wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['deja_view_app', 'deja_view_system'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
        END IF;
        -- Who creates a role may grant it, but since PostgreSQL 16 may not act as it before that is done.
        BEGIN
            EXECUTE format('GRANT %I TO CURRENT_USER', wanted);
        EXCEPTION WHEN insufficient_privilege THEN
            IF NOT pg_has_role(current_user, wanted, 'MEMBER') THEN
                RAISE;
            END IF;
        END;
    END LOOP;
END
$$;
