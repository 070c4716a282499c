# Sends heartbeats, each over a new connection. If the fleet has closed this VM's row, it has abandoned the VM
# and requeued its trial, so the VM stops immediately. Also renews the database password, and detects a trial
# that its script does not end.
start_heartbeat() {
    local answer overdue=0
    set -m
    while sleep "$HEARTBEAT_INTERVAL" && kill -0 "$$"; do
        [[ -z $DATABASE_IDENTITY ]] || renew_password 2>/dev/null
        answer=$(send_heartbeat 2>/dev/null) || answer='t|f'
        [[ $answer == t* ]] || kill -USR2 "$$"
        overdue=$((overdue + 1))
        [[ $answer == *t ]] || overdue=0
        ((overdue < OVERDUE_HEARTBEATS)) || { overdue=0 && kill -ALRM "$$"; }
    done &
    heartbeat=$!
    set +m
}

# Prints "t" or "f" for whether the fleet still has this VM, "|", and the same for whether its trial is overdue.
# Powerlift's times are naive, in the server's time zone, as is the comparison.
send_heartbeat() {
    local row="SELECT 1" memory=
    [[ $has_figures == false ]] || memory=", memory_available = $(available_memory)"
    [[ $registered == false ]] || row="UPDATE powerlift_fleet_runner SET seen_at = now()$memory
        WHERE $IDS AND ended_at IS NULL RETURNING 1"
    psql_with "WITH mine AS ($row) SELECT EXISTS (SELECT FROM mine), EXISTS (SELECT FROM trial WHERE $MINE
               AND start_time < LOCALTIMESTAMP - interval '$OVERDUE_AFTER s')" timeout --foreground -k 5 30
}

# Powerlift's own script, for example, repeats the writing of an error text that contains a NUL without an end.
stop_overdue_script() {
    [[ $script_runs == true ]] || return 0
    is_overdue=true
    say "the trial is overdue; stopping the experiment's script"
    stop_group "$child"
}
