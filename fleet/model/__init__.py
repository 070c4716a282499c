"""The model of a fleet: pure code without I/O, which uses only the standard library."""
