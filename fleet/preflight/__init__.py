"""The plan: what can be known before anything is created."""
