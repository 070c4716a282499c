"""The commands, by concern."""
