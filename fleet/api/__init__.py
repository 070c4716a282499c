"""The API contract: request, responses, routes and OpenAPI document."""
