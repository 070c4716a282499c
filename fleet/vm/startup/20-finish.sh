# --- exit ------------------------------------------------------------------------------------------

finish() {
    local status=$?
    trap : TERM INT HUP USR1 USR2 # the VM must be deleted despite any signal
    trap - EXIT
    exec >&3 # a signal may arrive while output is redirected
    say "ending ($status): $reason"
    [[ ! -s $NOTICE ]] || query_timeout=5 # an evicted VM has 30 s in total
    stop_group "$heartbeat"
    stop_group "$child"
    stop_group "$event_waiter"
    release_trial && record_end "$status"
    stop_group "$az_fetch"
    if [[ $DELETE_ON_COMPLETE == true ]]; then
        delete_machine
    else
        say "keeping the VM: delete_on_complete is false"
    fi
    [[ ! -s $NOTICE ]] || approve_event
    exit "$status"
}

# The CLI is tried once, if installed. The HTTPS call is the same request without dependencies, so it is
# the one to retry.
delete_machine() {
    if delete_by_az || retry "$DELETE_TIMEOUT" delete_by_arm; then
        say "Azure accepted the deletion of $VM_NAME"
        return
    fi
    # A VM that is off still costs money until the sweep deletes it.
    say "failed to delete $VM_NAME; shutting down"
    shutdown -h now
}

delete_by_az() {
    [[ ! -s $NOTICE ]] && command -v az >/dev/null || return 1 # too slow before an eviction
    run_group timeout -k 5 60 az login --identity --output none &&
        run_group timeout -k 5 120 az vm delete --yes --no-wait --subscription "$SUBSCRIPTION_ID" \
            --resource-group "$RESOURCE_GROUP" --name "$VM_NAME"
}

delete_by_arm() {
    run_group agent delete "$RESOURCE_MANAGER" "$SUBSCRIPTION_ID" "$RESOURCE_GROUP" "$VM_NAME"
}

