"""The command `powerlift-fleet`; `main.py` has the commands."""
