"""The contract of both doors: requests, responses, routes and their OpenAPI document."""
