"""Entry points: HTTP, queue and timers."""
