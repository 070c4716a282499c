"""Entra ID and role-based access control."""
