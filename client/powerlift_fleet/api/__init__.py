"""The app's HTTP API: client, retries, responses, errors."""
