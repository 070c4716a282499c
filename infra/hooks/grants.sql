-- What app and VMs may do with Powerlift's tables (docs/operating.md, "One database and one role per team"), as far as
-- these exist. The app creates its own tables, and grants VMs what they need of them.
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
GRANT CREATE, USAGE ON SCHEMA public TO :"app";
GRANT USAGE ON SCHEMA public TO :"vms";

SELECT set_config('fleet.app', :'app', false) AS app, set_config('fleet.vms', :'vms', false) AS vms \gset
DO $$
DECLARE
    wanted record;
    is_member boolean;
BEGIN
    PERFORM set_config('lock_timeout', '5s', true); -- VMs at work wait behind this
    FOR wanted IN
        SELECT format('GRANT %s ON %s %I TO %I', privileges, kind, name, grantee) AS statement,
            pg_get_userbyid(relowner) AS owner
        FROM (VALUES
            ('experiment', 'TABLE', 'SELECT'),
            ('wheel', 'TABLE', 'SELECT'),
            ('task', 'TABLE', 'SELECT'),
            ('trial', 'TABLE', 'SELECT, UPDATE (runner_id, start_time, end_time, errmsg)'),
            ('measure_outcome', 'TABLE', 'SELECT, INSERT, DELETE'),
            ('measure_outcome_id_seq', 'SEQUENCE', 'USAGE')
        ) AS powerlift (name, kind, privileges)
        JOIN pg_class ON pg_class.oid = to_regclass(name),
        (VALUES (current_setting('fleet.app')), (current_setting('fleet.vms'))) AS principals (grantee)
        UNION ALL
        -- For claims of the order `paired`: the app's own attempt fails where an author owns the table. Not CONCURRENTLY,
        -- which no block may: writers wait for the second that it takes per million trials.
        SELECT 'CREATE INDEX powerlift_fleet_group ON trial (experiment_id, task_id, replicate_num)',
            pg_get_userbyid(relowner)
        FROM pg_class WHERE oid = to_regclass('trial') AND to_regclass('powerlift_fleet_group') IS NULL
    LOOP
        BEGIN
            -- An author owns the tables. The administrator is no superuser, and acts for the owner as far as PostgreSQL
            -- allows it: since version 16, for roles that the administrator has created.
            is_member := pg_has_role(wanted.owner, 'USAGE');
            IF NOT is_member THEN
                EXECUTE format('GRANT %I TO CURRENT_USER', wanted.owner);
            END IF;
            EXECUTE wanted.statement;
            IF NOT is_member THEN
                EXECUTE format('REVOKE %I FROM CURRENT_USER', wanted.owner);
            END IF;
        EXCEPTION
            WHEN insufficient_privilege THEN
                RAISE WARNING 'Not granted: only "%" may. Log in with this role, and run: %;', wanted.owner, wanted.statement;
            WHEN lock_not_available THEN
                RAISE WARNING 'Not granted: the table is in use. Repeat this later, or log in as "%", and run: %;',
                    wanted.owner, wanted.statement;
        END;
    END LOOP;
END $$;
