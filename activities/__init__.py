"""One side effect each: idempotent, a small typed dict in, a small typed dict out."""
