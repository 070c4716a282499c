"""Azure Resource Manager: routing, resources, long-running operations, subscriptions."""
