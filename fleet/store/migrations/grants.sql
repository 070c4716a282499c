-- Statements that grant what others lack of the app's tables in the benchmarks' databases, to the role of the VMs, and to the
-- authors: the owner of Powerlift's table. Only the app creates tables of its own, and others get no access to
-- powerlift_fleet, powerlift_fleet_writes, powerlift_fleet_price, powerlift_fleet_webhook and powerlift_fleet_requirements.
SELECT format('GRANT %%s ON TABLE %%I TO %%I', privileges, name, rolname)
FROM (VALUES
    ('vms', 'powerlift_fleet_schema', 'SELECT'),
    ('vms', 'powerlift_fleet_machine', 'SELECT, INSERT, UPDATE, DELETE'),
    ('vms', 'powerlift_fleet_runner', 'SELECT, INSERT, UPDATE, DELETE'),
    ('vms', 'powerlift_fleet_trial', 'SELECT, INSERT, UPDATE, DELETE'),
    ('vms', 'powerlift_fleet_loss', 'SELECT, INSERT, UPDATE, DELETE'),
    ('vms', 'powerlift_fleet_lock', 'SELECT, INSERT'),
    ('authors', 'powerlift_fleet_runner', 'SELECT'),
    ('authors', 'powerlift_fleet_trial', 'SELECT')
) AS granted (grantee, name, privileges)
JOIN pg_roles ON rolname = CASE grantee WHEN 'vms' THEN %s ELSE (
    SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = to_regclass('trial')
) END
WHERE to_regclass(name) IS NOT NULL AND EXISTS (
    SELECT FROM unnest(string_to_array(privileges, ', ')) AS privilege
    WHERE NOT has_table_privilege(rolname, name, privilege)
)
