record_end() {
    [[ $registered == true ]] || return 0
    query answer "UPDATE powerlift_fleet_runner SET ended_at = coalesce(ended_at, now()),
                    exit_code = $1, outcome = coalesce(outcome, $(sql_text "$reason"))
                  WHERE $IDS" ||
        say "failed to record the outcome"
    store_log 2>/dev/null || say "failed to store this log"
    [[ -s $NOTICE ]] || store_use 2>/dev/null || say "failed to store the VM's use"
}

# Nothing if the VM ran no trial. Trials may write the file. The columns are missing if an earlier build has created
# the table.
store_use() {
    local memory vcpus
    { [[ -e use ]] && read -r memory vcpus <use && [[ $memory$vcpus =~ ^[0-9]+$ ]]; } || return 0
    query answer "UPDATE powerlift_fleet_runner SET used_memory_bytes = $memory * 1024::bigint,
        used_vcpus = least($vcpus / 100.0, cpus) WHERE $IDS" 10
}

store_log() {
    local log
    log=$(console_tail) && query answer "
        UPDATE powerlift_fleet_runner SET log = convert_from(decode('$log', 'base64'), 'UTF8')
        WHERE $IDS" $((query_timeout < 10 ? query_timeout : 10))
}

# The end of the console log, in base64, without NULs, which PostgreSQL rejects. If the console is a pipe,
# cloud-init writes the log file.
console_tail() {
    local file=/proc/$$/fd/3
    [[ -f $file ]] || file=/var/log/cloud-init-output.log
    tail -c "$LOG_BYTES" "$file" | python3 -I -c 'import base64, sys
text = sys.stdin.buffer.read().decode("utf-8", "replace").replace("\0", "")
end = text.encode()[-int(sys.argv[1]):].decode("utf-8", "ignore")
print(base64.b64encode(end.encode()).decode())' "$LOG_BYTES"
}

readonly IDS="experiment_id = $EXPERIMENT_ID AND runner_id = $RUNNER_ID"
readonly MINE="$IDS AND end_time IS NULL"

