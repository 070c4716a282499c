# Notes in the database what this VM is, for its results are those of its hardware. The app creates the
# tables before the first VM; where it may not, this fails and the VM goes on without.
record_start() {
    if query answer "DELETE FROM powerlift_fleet_runner
        WHERE experiment_id = $EXPERIMENT_ID AND runner_id = $RUNNER_ID;
        INSERT INTO powerlift_fleet_runner (
            experiment_id, runner_id, vm_name, vm_size, location, zone, priority, image,
            image_version, cpu_model, cpus, memory_bytes, kernel)
        SELECT $EXPERIMENT_ID, $RUNNER_ID, $(sql_text "$VM_NAME"), facts.*
        FROM json_to_record($(sql_text "$(guest describe)")::json) AS facts (
            vm_size text, location text, zone text, priority text, image text,
            image_version text, cpu_model text, cpus integer, memory_bytes bigint, kernel text)"; then
        recorded=true
    else
        say "the database does not let this VM record itself; going on without"
    fi
}

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

record_end() {
    [[ $recorded == true ]] || return 0
    query answer "UPDATE powerlift_fleet_runner SET ended_at = coalesce(ended_at, now()),
                    exit_code = $1, outcome = coalesce(outcome, $(sql_text "$reason"))
                  WHERE experiment_id = $EXPERIMENT_ID AND runner_id = $RUNNER_ID" ||
        say "how this VM ended could not be recorded"
    keep_log 2>/dev/null || say "the end of this log could not be kept"
}

keep_log() {
    local log
    log=$(console_tail) && query answer "
        UPDATE powerlift_fleet_runner SET log = convert_from(decode('$log', 'base64'), 'UTF8')
        WHERE experiment_id = $EXPERIMENT_ID AND runner_id = $RUNNER_ID" $((answer_in < 10 ? answer_in : 10))
}

# The last 32 KB of the console log, in base64, as text that a database takes. cloud-init's output goes
# through a pipe, and from there into a file of its own.
console_tail() {
    local file=/proc/$$/fd/3
    [[ -f $file ]] || file=/var/log/cloud-init-output.log
    tail -c "$LOG_BYTES" "$file" | python3 -I -c 'import base64, sys
text = sys.stdin.buffer.read().decode("utf-8", "replace").replace("\0", "")
end = text.encode()[-int(sys.argv[1]):].decode("utf-8", "ignore")
print(base64.b64encode(end.encode()).decode())' "$LOG_BYTES"
}

readonly MINE="experiment_id = $EXPERIMENT_ID AND runner_id = $RUNNER_ID AND end_time IS NULL"

