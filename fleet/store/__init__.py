"""The databases: trials, VM records, heartbeats and logs."""
