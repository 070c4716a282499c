# --- the end ---------------------------------------------------------------------------------------

finish() {
    local status=$?
    trap : TERM INT HUP USR1 USR2 # whatever comes now, the VM must still be deleted
    trap - EXIT
    exec >&3 # a signal may have come while a command wrote to a file
    say "ending ($status): $reason"
    [[ ! -s $NOTICE ]] || answer_in=5 # the VM has 30 s, a database that hangs has no end
    stop_group "$beater"
    stop_group "$child"
    stop_group "$watcher"
    give_back && record_end "$status"
    stop_group "$az_fetch"
    if [[ $DELETE_ON_COMPLETE == true ]]; then
        delete_machine
    else
        say "the VM stays, as it was asked to"
    fi
    [[ ! -s $NOTICE ]] || approve_event
    exit "$status"
}

# The CLI goes first where it is there: it costs seconds, and is the way that operators know. The
# HTTPS call is the same request and needs nothing installed, so it is the one that is repeated.
delete_machine() {
    if delete_by_az || retry "$DELETE_PATIENCE" delete_by_arm; then
        say "Azure accepted the deletion of $VM_NAME"
        return
    fi
    # A VM that is off still costs, until the fleet's sweep deletes it; but it does no harm.
    say "$VM_NAME could not be deleted: turning it off"
    shutdown -h now
}

delete_by_az() {
    [[ ! -s $NOTICE ]] && command -v az >/dev/null || return 1 # at a notice each second counts
    attend timeout -k 5 60 az login --identity --output none &&
        attend timeout -k 5 120 az vm delete --yes --no-wait --subscription "$SUBSCRIPTION_ID" \
            --resource-group "$RESOURCE_GROUP" --name "$VM_NAME"
}

delete_by_arm() {
    attend guest delete "$RESOURCE_MANAGER" "$SUBSCRIPTION_ID" "$RESOURCE_GROUP" "$VM_NAME"
}

