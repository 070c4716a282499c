-- Statements that grant the VMs' role what it lacks of the app's tables in the benchmarks' databases. Only the app creates
-- tables of its own, and VMs get no access to powerlift_fleet, powerlift_fleet_writes, powerlift_fleet_price,
-- powerlift_fleet_webhook and powerlift_fleet_requirements.
SELECT format('GRANT %%s ON TABLE %%I TO %%I', privileges, name, rolname)
FROM (VALUES
    ('powerlift_fleet_schema', 'SELECT'),
    ('powerlift_fleet_machine', 'SELECT, INSERT, UPDATE, DELETE'),
    ('powerlift_fleet_runner', 'SELECT, INSERT, UPDATE, DELETE'),
    ('powerlift_fleet_trial', 'SELECT, INSERT, UPDATE, DELETE'),
    ('powerlift_fleet_loss', 'SELECT, INSERT, UPDATE, DELETE'),
    ('powerlift_fleet_lock', 'SELECT, INSERT')
) AS granted (name, privileges), pg_roles
WHERE rolname = %s AND to_regclass(name) IS NOT NULL AND EXISTS (
    SELECT FROM unnest(string_to_array(privileges, ', ')) AS privilege
    WHERE NOT has_table_privilege(rolname, name, privilege)
)
