"""One side effect each: idempotent, a small dict in, a small dict out."""
