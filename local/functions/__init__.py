"""A host for Azure Functions apps in the Python v2 model, with Durable Functions on SQLite."""
