# Sends heartbeats, each over a new connection. If the fleet has closed this VM's row, it has abandoned the VM
# and requeued its trial, so the VM stops immediately. Also renews the database password.
start_heartbeat() {
    [[ $registered == true || -n $DATABASE_IDENTITY ]] || return 0
    local row
    set -m
    while sleep "$HEARTBEAT_INTERVAL" && kill -0 "$$"; do
        [[ -z $DATABASE_IDENTITY ]] || renew_password 2>/dev/null
        [[ $registered == true ]] || continue
        ! row=$(send_heartbeat 2>/dev/null) || [[ -n $row ]] || kill -USR2 "$$"
    done &
    heartbeat=$!
    set +m
}

send_heartbeat() {
    psql_with "UPDATE powerlift_fleet_runner SET seen_at = now() WHERE experiment_id = $EXPERIMENT_ID
           AND runner_id = $RUNNER_ID AND ended_at IS NULL RETURNING 1" timeout --foreground -k 5 30
}

