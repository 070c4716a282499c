"""An Azure simulator: Resource Manager, Entra ID and VMs on one machine, for any client.

Run it with `python -m local.azure`, or in process with `simulator.AzureSimulator`.
"""
