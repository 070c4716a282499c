"""Access to Azure: credentials, client, request bodies, errors, role assignments, owned resources."""
