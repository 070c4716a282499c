# --- trials ----------------------------------------------------------------------------------------

# Runs the experiment's script like Powerlift. Only this process gets the URI.
run_script() {
    DB_URL=$(<db_url)
    [[ -z $DATABASE_IDENTITY ]] || DB_URL+="&passfile=$HOME_DIR/pgpass"
    POWERLIFT_CLAIM=$(claim_statement)
    export EXPERIMENT_ID RUNNER_ID TIMEOUT DB_URL POWERLIFT_CLAIM
    export VIRTUAL_ENV=$HOME_DIR/venv PATH=$HOME_DIR/venv/bin:$PATH
    exec "$PYTHON" startup.py
}

# Exit codes as in Powerlift: 0 no more work, 1 more work, others failure. Python also exits with 1 for a
# broken script, so a run succeeds only if its trial has ended.
run_trials() {
    local status failed_runs=0
    while ((failed_runs < MAX_FAILED_RUNS)); do
        run_group sleep $((failed_runs * failed_runs * RUN_BACKOFF))
        must claim_trial
        [[ $(<claimed) != -1 ]] || { say "the fleet drains" && return 0; }
        run_once
        status=$?
        say "the experiment's script $(describe_exit "$status")"
        if ((status == 0)) && [[ $is_overdue == false ]]; then
            must find_hidden
            (($(<left) > 0)) || return 0
        fi
        ((status != 143)) || run_group sleep 2 # during a shutdown this script gets SIGTERM too, possibly later
        retry "$DATABASE_TIMEOUT" settle "$status" ||
            fail "lost the connection to the database$(because)"
        failed_runs=$(($(<progress) == 1 ? 0 : failed_runs + 1))
    done
    fail "the experiment's script exited $failed_runs times in a row without finishing a trial"
}

# Kills processes that the script leaves running, which would disturb the next trial.
run_once() {
    local status
    script_runs=true is_overdue=false
    run_group run_script
    status=$?
    script_runs=false
    kill -KILL -- "-$last_child" 2>/dev/null
    return "$status"
}

# settle STATUS: marks an open trial as failed, and writes 1 to the file `progress` if the run succeeded.
# Running out of memory (137), segmentation faults (139) and being overdue count as the trial's own failure.
settle() {
    check_claim && cp ended progress || return 1
    (($1 > 1)) || [[ $is_overdue == true ]] || return 0
    mark_trial "$1" || return 1
    if [[ -s marked ]] && { (($1 == 137 || $1 == 139)) || [[ $is_overdue == true ]]; }; then
        echo 1 >progress
    fi
}

# systemd stops a service when the kernel OOM-kills one of its processes (OOMPolicy). Leaving cloud-init's
# control group limits the damage to the trial.
leave_service() {
    local group=/sys/fs/cgroup/powerlift
    [[ -n ${INVOCATION_ID:-} && -e /sys/fs/cgroup/cgroup.procs ]] || return 0 # no systemd, or not v2
    if ! { mkdir -p "$group" && echo "$$" >"$group/cgroup.procs"; }; then
        say "failed to leave cloud-init's control group"
    fi
}

# The working directory is readable by root only, because it contains the database password. Runs in a
# subshell, so that the umask does not affect installed packages.
make_home() {
    umask 077
    mkdir -p "$HOME_DIR/wheels" && chmod 700 "$HOME_DIR" && cd "$HOME_DIR" &&
        base64 -d <<<"$DB_URL_BASE64" >db_url &&
        base64 -d <<<"$PG_SERVICE_BASE64" >pg_service.conf &&
        base64 -d <<<"$PG_PASSWORD_BASE64" >pgpass &&
        base64 -d <<<"$ROOT_CERTIFICATES_BASE64" >root.pem
}

main() {
    say "experiment $EXPERIMENT_ID, runner $RUNNER_ID, VM $VM_NAME"
    if ! (make_home) || ! cd "$HOME_DIR"; then
        fail "$HOME_DIR is not writable"
    fi
    # For libpq, in psql and in the trials' drivers; otherwise the URI names the image's certificates.
    [[ ! -s root.pem ]] || export PGSSLROOTCERT=$HOME_DIR/root.pem
    # libpq 16 and newer send the password in no other way. Ubuntu 22.04's psql, which has 14, ignores this.
    [[ -z $REQUIRE_AUTH ]] || export PGREQUIREAUTH=$REQUIRE_AUTH
    remove_custom_data
    leave_service
    wait_for_notice
    retry "$INSTALL_TIMEOUT" install_system || fail "apt-get failed to install Powerlift's system packages"
    [[ -z $DATABASE_IDENTITY ]] || retry "$DATABASE_TIMEOUT" get_password ||
        fail "Azure issued no database token for the identity $DATABASE_IDENTITY$(because)"
    local problem=
    retry "$DATABASE_TIMEOUT" read_experiment ||
        problem="failed to read the experiment from the database$(because)"
    register_vm # a registered VM can record why it ends
    [[ -z $problem ]] || fail "$problem"
    check_cpu
    (($(<found) == 1)) || fail "experiment $EXPERIMENT_ID does not exist in the database" "$BROKEN"
    grep -q '[^[:space:]]' startup.py || fail "the script of experiment $EXPERIMENT_ID is empty" "$BROKEN"
    retry "$DATABASE_TIMEOUT" read_wheels || fail "failed to read the experiment's wheels$(because)"

    start_heartbeat
    install_shell
    choose_packages
    retry "$INSTALL_TIMEOUT" make_venv || fail "python3 failed to create a virtual environment"
    obtain_lock
    retry "$INSTALL_TIMEOUT" install_packages || fail "failed to install the experiment's packages$(hash_mismatch)"
    freeze_packages
    record_packages
    check_script

    start_use_sampler
    run_trials
    reason="no more work"
}

trap finish EXIT
trap 'fail "stopped by a signal" 143' TERM INT HUP
trap 'fail "Azure announced that it will stop this VM" 143' USR1
trap stop_overdue_script ALRM
trap 'fail "the fleet abandoned this VM" 143' USR2
main
exit 0
