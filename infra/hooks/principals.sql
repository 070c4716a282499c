-- The PostgreSQL roles of the identities of app and VMs. Run in the database postgres.
SELECT format('SELECT pgaadauth_create_principal(%L, false, false)', name)
FROM (VALUES (:'app'), (:'vms')) AS wanted (name)
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) \gexec
