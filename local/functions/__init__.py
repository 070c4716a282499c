"""A host for Azure Functions apps written in the Python v2 model, with Durable Functions on SQLite."""
