"""Stand-ins that make one machine enough: a Functions host, Azure, PostgreSQL, Azurite, a demo."""
