"""Stand-ins for running the app on one machine: Functions host, Azure, PostgreSQL, Azurite, demo."""
