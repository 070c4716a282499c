-- What app and VMs may do in the benchmarks' database (docs/operating.md, "One database and one role per team").
-- Powerlift's tables are granted if they exist. Only the app creates tables of its own, and VMs get no access to
-- powerlift_fleet, powerlift_fleet_writes, powerlift_fleet_price, powerlift_fleet_webhook and powerlift_fleet_requirements.
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
GRANT CREATE, USAGE ON SCHEMA public TO :"app";
GRANT USAGE ON SCHEMA public TO :"vms";

SELECT format('GRANT %s ON %s TO %I', privilege, object, grantee)
FROM (VALUES
    ('experiment', 'TABLE experiment', 'SELECT'),
    ('wheel', 'TABLE wheel', 'SELECT'),
    ('task', 'TABLE task', 'SELECT'),
    ('trial', 'TABLE trial', 'SELECT, UPDATE (runner_id, start_time, end_time, errmsg)'),
    ('measure_outcome', 'TABLE measure_outcome', 'SELECT, INSERT, DELETE'),
    ('measure_outcome_id_seq', 'SEQUENCE measure_outcome_id_seq', 'USAGE')
) AS powerlift (name, object, privilege), (VALUES (:'app'), (:'vms')) AS principals (grantee)
WHERE to_regclass(name) IS NOT NULL \gexec

-- The app owns its tables, which exist after its first fleet. The administrator acts for it.
SELECT to_regclass('powerlift_fleet_schema') IS NOT NULL AS has_tables \gset
\if :has_tables
GRANT :"app" TO CURRENT_USER;
SET ROLE :"app";
SELECT format('GRANT %s ON TABLE %s TO %I', privilege, name, :'vms')
FROM (VALUES
    ('powerlift_fleet_schema', 'SELECT'),
    ('powerlift_fleet_machine', 'SELECT, INSERT, UPDATE, DELETE'),
    ('powerlift_fleet_runner', 'SELECT, INSERT, UPDATE, DELETE'),
    ('powerlift_fleet_trial', 'SELECT, INSERT, UPDATE, DELETE'),
    ('powerlift_fleet_loss', 'SELECT, INSERT, UPDATE, DELETE'),
    ('powerlift_fleet_lock', 'SELECT, INSERT')
) AS ours (name, privilege)
WHERE to_regclass(name) IS NOT NULL \gexec
RESET ROLE;
\endif
