"""Azure on the wire: credentials, client, bodies, error table, role assignments, owned resources."""
