# --- Azure's notice --------------------------------------------------------------------------------

# Azure announces an eviction of a Spot VM 30 s ahead, and other ends earlier; any VM may get one.
watch_for_notice() {
    set -m
    { guest watch "$VM_NAME" >"$NOTICE" && kill -USR1 "$$"; } &
    watcher=$!
    set +m
}

approve_event() {
    local event
    read -r event _ <"$NOTICE"
    attend guest approve "$event" || say "the event could not be approved; Azure waits for its time"
}

