"""Durable Functions: orchestrations by replay, with the SDK's own executor and a history in SQLite."""
