"""The sweep: deletes orphaned resources on a schedule, independently of orchestrations."""
