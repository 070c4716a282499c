"""The orchestrators, and what they compute with, as they were when the episodes were recorded.

A copy that is never changed: the live ones schedule other timers by now, and so would not replay to
what was recorded. It imports nothing of the live app.
"""
