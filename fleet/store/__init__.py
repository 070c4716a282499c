"""Database access: trials, VM records, heartbeats and logs."""
