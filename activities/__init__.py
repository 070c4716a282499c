"""Activities: one idempotent side effect each, with small typed dicts as input and output."""
