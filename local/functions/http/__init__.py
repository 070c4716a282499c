"""The HTTP side of the host: routes, access keys, and what its web server rejects."""
