"""Database access: fleets, claims, trials, VM records, heartbeats and logs."""
