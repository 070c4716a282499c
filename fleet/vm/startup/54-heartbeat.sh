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

# Writes the most memory in use at once, in KiB, and the most busy CPU time between two samples, in hundredths of a
# CPU, to the file `use`. Starts after the installation, which uses more than trials.
start_use_sampler() {
    set -m
    sample_use &
    use_sampler=$!
    set +m
}

# In /proc/stat: user, nice, system, idle, iowait, irq, softirq, steal.
sample_use() {
    local name value total free busy all used was_busy=0 was_all=0 memory=0 vcpus=0 cpus
    local -a t
    cpus=$(grep -c '^cpu[0-9]' /proc/stat)
    while kill -0 "$$"; do
        while read -r name value _; do
            case $name in MemTotal:) total=$value ;; MemAvailable:) free=$value ;; esac
        done </proc/meminfo
        read -ra t </proc/stat
        busy=$((t[1] + t[2] + t[3] + t[6] + t[7] + t[8]))
        all=$((busy + t[4] + t[5]))
        used=$(((busy - was_busy) * 100 * cpus / (all - was_all + 1)))
        ((was_all == 0 || used <= vcpus)) || vcpus=$used
        ((total - free <= memory)) || memory=$((total - free))
        was_busy=$busy was_all=$all
        echo "$memory $vcpus" >use
        sleep "$USE_INTERVAL"
    done
}
