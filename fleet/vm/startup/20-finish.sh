# --- exit ------------------------------------------------------------------------------------------

finish() {
    local status=$?
    trap : TERM INT HUP USR1 USR2 ALRM # the VM must be deleted despite any signal
    trap - EXIT
    exec >&3 2>&3 # a signal may arrive while output is redirected
    say "ending ($status): $reason"
    [[ ! -s $NOTICE ]] || query_timeout=5 # an evicted VM has 30 s in total
    stop_group "$heartbeat"
    stop_group "$use_sampler"
    stop_group "$child"
    stop_group "$event_waiter"
    release_trials "$status" && record_end "$status"
    rm -f "$HOME_DIR"/{db_url,pgpass*} # the VM may be kept
    # The fleet replaces a refused VM once it is gone; it has run nothing that is worth keeping.
    if [[ $DELETE_ON_COMPLETE == true || $status == "$WRONG_CPU" ]]; then
        delete_machine
    else
        say "keeping the VM: delete_on_complete is false"
    fi
    [[ ! -s $NOTICE ]] || approve_event
    exit "$status"
}

delete_machine() {
    if retry "$DELETE_TIMEOUT" request_deletion; then
        say "Azure accepted the deletion of $VM_NAME"
        return
    fi
    # A VM that is off still costs money until the sweep deletes it.
    say "failed to delete $VM_NAME; shutting down"
    shutdown -h now
}

request_deletion() {
    run_group agent delete "$RESOURCE_MANAGER" "$SUBSCRIPTION_ID" "$RESOURCE_GROUP" "$VM_NAME"
}

