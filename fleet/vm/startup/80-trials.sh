# --- the trials ------------------------------------------------------------------------------------

# The experiment's script, in the way that Powerlift runs it. No other program is told the URI.
run_script() {
    DB_URL=$(<db_url)
    export EXPERIMENT_ID RUNNER_ID TIMEOUT DB_URL
    export VIRTUAL_ENV=$HOME_DIR/venv PATH=$HOME_DIR/venv/bin:$PATH
    exec "$PYTHON" startup.py
}

# Exit codes, as in Powerlift: 0 no more work, 1 more work, others a failure. Python itself ends with
# 1 as well when the script is broken, so a turn counts only when its trial has ended.
run_trials() {
    local status fruitless=0
    while ((fruitless < FRUITLESS_TURNS)); do
        attend sleep $((fruitless * fruitless * TURN_PAUSE))
        retry "$DATABASE_PATIENCE" claim_trial || fail "the database cannot be reached any more"
        take_turn
        status=$?
        say "the experiment's script $(death "$status")"
        ((status != 0)) || return 0
        ((status != 143)) || attend sleep 2 # at a shutdown we too get SIGTERM, perhaps last
        retry "$DATABASE_PATIENCE" settle "$status" ||
            fail "the database cannot be reached any more"
        fruitless=$(($(<fruit) == 1 ? 0 : fruitless + 1))
    done
    fail "the experiment's script ended $fruitless times in a row without ending a trial"
}

# The script, and the end of whatever it has left running: that would be in the next trial's way.
take_turn() {
    local status
    attend run_script
    status=$?
    kill -KILL -- "-$turn" 2>/dev/null
    return "$status"
}

# settle STATUS: ends what the turn left open, and writes 1 to the file `fruit` if it was of use. Out of
# memory (137) and a segmentation fault (139) are a trial's own doing: they cost that trial alone.
settle() {
    look_at_claim && cp ended fruit || return 1
    (($1 != 1)) || return 0
    mark_trial "$1" || return 1
    (($1 != 137 && $1 != 139)) || [[ ! -s marked ]] || echo 1 >fruit
}

# systemd stops a whole service when the kernel kills one process of it for want of memory (its
# OOMPolicy). Outside of cloud-init's, a trial that takes too much is not the end of the VM.
leave_service() {
    local group=/sys/fs/cgroup/powerlift
    [[ -n ${INVOCATION_ID:-} && -e /sys/fs/cgroup/cgroup.procs ]] || return 0 # no systemd, or not v2
    if ! { mkdir -p "$group" && echo "$$" >"$group/cgroup.procs"; }; then
        say "this script stays in cloud-init's control group"
    fi
}

# The working directory: root's alone, since it holds the database's password. In a subshell, as what
# packages install later is for everyone.
make_home() {
    umask 077
    mkdir -p "$HOME_DIR/wheels" && chmod 700 "$HOME_DIR" && cd "$HOME_DIR" &&
        base64 -d <<<"$DB_URL_BASE64" >db_url &&
        base64 -d <<<"$PG_SERVICE_BASE64" >pg_service.conf &&
        base64 -d <<<"$PG_PASSWORD_BASE64" >pgpass
}

main() {
    say "experiment $EXPERIMENT_ID, runner $RUNNER_ID, VM $VM_NAME"
    if ! (make_home) || ! cd "$HOME_DIR"; then
        fail "$HOME_DIR cannot be written to"
    fi
    leave_service
    watch_for_notice
    retry "$INSTALL_PATIENCE" install_system || fail "apt-get could not install what Powerlift needs"
    retry "$DATABASE_PATIENCE" read_experiment || fail "the experiment cannot be read from the database"
    record_start
    (($(<found) == 1)) || fail "experiment $EXPERIMENT_ID is not in the database"
    grep -q '[^[:space:]]' startup.py || fail "the script of experiment $EXPERIMENT_ID is empty"
    retry "$DATABASE_PATIENCE" read_wheels || fail "the experiment's wheels cannot be read"

    keep_alive
    install_shell
    begin_fetch_az
    split_words pip_install || fail "pip_install cannot be split into words: a quote is not closed"
    retry "$INSTALL_PATIENCE" make_venv || fail "python3 could not make a virtual environment"
    retry "$INSTALL_PATIENCE" install_packages || fail "the experiment's packages cannot be installed"

    run_trials
    reason="no more work"
}

trap finish EXIT
trap 'fail "told to stop by a signal" 143' TERM INT HUP
trap 'fail "Azure has announced that it takes this VM" 143' USR1
trap 'fail "the fleet has given this VM up" 143' USR2
main
exit 0
