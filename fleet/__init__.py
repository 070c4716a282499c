"""The app without Azure Functions: requests, Azure, the databases, the VM, and the model of a fleet."""
