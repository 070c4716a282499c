"""The demo: one Powerlift experiment, run by a fleet of simulated VMs, from request to teardown."""
