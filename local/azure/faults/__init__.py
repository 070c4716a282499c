"""Fault injection, driven by a fault plan: one JSON document (docs/fault-injection.md).

`plan` parses it; `interceptor`, `allocator` and `evictions` apply it.
"""
