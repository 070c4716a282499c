"""Durable Functions: replays orchestrations with the SDK's executor, and stores histories in SQLite."""
