"""What runs inside a VM: its custom data, its metadata service and its stand-in commands."""
