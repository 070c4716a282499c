"""What a fleet is, as pure code: the standard library only, and no I/O."""
