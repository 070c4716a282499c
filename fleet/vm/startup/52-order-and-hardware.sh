# Records what this build adds to the VM's row. Fails if the app could not add the columns.
record_order() {
    if query answer "UPDATE powerlift_fleet_runner SET trial_order = '$TRIAL_ORDER', trial_seed = $TRIAL_SEED,
                       memory_available = $(available_memory) WHERE $IDS"; then
        has_figures=true
    else
        say "failed to record the order of the trials; continuing"
    fi
    query answer "UPDATE powerlift_fleet_runner SET script_digest = '$SCRIPT_DIGEST' WHERE $IDS" ||
        say "failed to record the digest of this script; continuing"
}

# In bytes, for SQL. Tells later whether the VM hangs because it ran out of memory.
available_memory() {
    local kilobytes
    kilobytes=$(sed -En 's/^MemAvailable: +([0-9]+) kB$/\1/p' "${POWERLIFT_MEMINFO:-/proc/meminfo}")
    printf '%s' "${kilobytes:-NULL}::bigint * 1024"
}

# Ends the VM before it installs anything if its processor is not one that the request allows: the fleet replaces it.
check_cpu() {
    local -a allowed
    local model
    [[ -n $CPU_MODELS ]] || return 0
    mapfile -t allowed <<<"$CPU_MODELS"
    model=$(agent refused_cpu "${allowed[@]}") || model=unknown
    [[ -z $model ]] || fail "its processor is $model, and the request's cpu_models allow ${CPU_MODELS//$'\n'/, }" "$WRONG_CPU"
}

