"""The activities that the orchestrators name. A replay never runs one: the history has its result."""

import azure.durable_functions as df

MARK = "failure="

bp = df.Blueprint()


def _named(name: str):
    async def activity(task: dict) -> dict:
        raise NotImplementedError

    activity.__name__ = name
    return bp.activity_trigger(input_name="task")(activity)


assign_permissions = _named("assign_permissions")
create_vm = _named("create_vm")
delete_leftovers = _named("delete_leftovers")
delete_nics = _named("delete_nics")
delete_vm = _named("delete_vm")
ensure_network = _named("ensure_network")
find_leftovers = _named("find_leftovers")
inspect_vms = _named("inspect_vms")
keep_logs = _named("keep_logs")
list_machines = _named("list_machines")
plan_fleet = _named("plan_fleet")
prepare_nics = _named("prepare_nics")
release_trials = _named("release_trials")
revoke_permissions = _named("revoke_permissions")
take_stock = _named("take_stock")
tell_end = _named("tell_end")
was_cancelled = _named("was_cancelled")
