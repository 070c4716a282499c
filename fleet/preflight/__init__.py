"""The plan: checks that run before any resource is created."""
