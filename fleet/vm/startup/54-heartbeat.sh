# Tells the fleet each minute that this VM lives. Where the fleet has ended this VM's row it has given the
# VM up, and its trial to another: then it goes at once, whatever the script would still write.
keep_alive() {
    [[ $recorded == true ]] || return 0
    local row
    set -m
    while sleep "$BEAT_PAUSE" && kill -0 "$$"; do
        ! row=$(beat 2>/dev/null) || [[ -n $row ]] || kill -USR2 "$$"
    done &
    beater=$!
    set +m
}

beat() {
    ask "UPDATE powerlift_fleet_runner SET seen_at = now() WHERE experiment_id = $EXPERIMENT_ID
           AND runner_id = $RUNNER_ID AND ended_at IS NULL RETURNING 1" timeout --foreground -k 5 30
}

