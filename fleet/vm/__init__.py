"""What runs on a VM: the startup script and the agent that it contains."""
