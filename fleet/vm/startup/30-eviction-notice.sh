# --- eviction notice --------------------------------------------------------------------------------

# Azure announces Spot evictions 30 s ahead, and other events earlier.
wait_for_notice() {
    set -m
    { agent wait_for_event "$VM_NAME" >"$NOTICE" && kill -USR1 "$$"; } &
    event_waiter=$!
    set +m
}

approve_event() {
    local event
    read -r event _ <"$NOTICE"
    run_group agent approve_event "$event" || say "failed to approve the event; Azure proceeds at its scheduled time"
}

