"""Azure on one machine: Resource Manager, Entra ID and VMs, for any client.

`python -m local.azure -h` tells how to start it; `simulator.AzureSimulator` is the same in process.
"""
