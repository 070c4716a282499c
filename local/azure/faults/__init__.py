"""What goes wrong in the simulated cloud, and when: a plan in one JSON document.

`document` reads it; `gate`, `supply` and `evictions` carry it out. The document is described
in docs/fault-injection.md.
"""
