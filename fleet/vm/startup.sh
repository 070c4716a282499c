#!/bin/bash
# Runs trials of one Powerlift experiment on this VM until there are none left, then deletes the VM.
#
# cloud-init runs it once, as root, on Ubuntu. fleet/vm/render.py puts the values of the VM in at the
# marked line. However it ends, it passes through `finish`, which writes the reason to the console
# log and deletes the VM (unless DELETE_ON_COMPLETE is false). `main`, at the end, is the summary.

# shellcheck disable=SC2329  # `retry`, `attend` and `trap` call functions by their names
set -u -o pipefail
exec </dev/null 3>&1 # no child can eat what a loop reads; 3 is the console, wherever 1 goes
trap : PIPE          # cloud-init's console is a pipe: a reader that dies must not be this script's end
export DEBIAN_FRONTEND=noninteractive HOME=${HOME:-/root} # cloud-init may set no HOME

# VALUES OF THIS VM

readonly HOME_DIR=${POWERLIFT_HOME:-$HOME/powerlift}
readonly PYTHON=$HOME_DIR/venv/bin/python
readonly NOTICE=$HOME_DIR/notice

# Seconds that a kind of trouble is waited out. A VM that waits costs money, so these are minutes; a
# role assignment may take ten of them to act, and until then Azure refuses the deletion.
readonly DATABASE_PATIENCE=${POWERLIFT_DATABASE_PATIENCE:-600}
readonly INSTALL_PATIENCE=${POWERLIFT_INSTALL_PATIENCE:-300}
readonly DELETE_PATIENCE=${POWERLIFT_DELETE_PATIENCE:-900}
readonly BEAT_PAUSE=${POWERLIFT_BEAT_PAUSE:-60} # between two signs of life; the fleet waits for 20
readonly FRUITLESS_TURNS=5 # in a row: as many are bad luck, more is a broken experiment
readonly LOG_BYTES=32768   # of the console log outlive the VM
readonly TURN_PAUSE=${POWERLIFT_TURN_PAUSE:-2} # seconds after the first; grows with their square

reason="startup.sh itself failed"
child=         # the process group that `attend` waits for
turn=          # the last one, perhaps with processes that have outlived the command
watcher=       # the process group that looks out for Azure's notice
beater=        # the process group that tells the fleet that this VM lives
az_fetch=      # the process group that installs the Azure CLI
recorded=false # whether the database has a row for this runner
installer=()   # uv or pip, up to the packages
answer_in=60   # seconds that the database has for one answer

say() { printf 'powerlift %(%F %T)T: %s\n' -1 "$*"; }

# fail REASON [STATUS]: ends the script; 143 where it was not its own doing. Not for subshells: there
# `exit` ends only them.
fail() {
    reason=$1
    exit "${2:-1}"
}

# Runs a command in a process group of its own. Unlike for a command in the foreground, bash acts on
# a signal at once, and `finish` can stop the command with all it started.
attend() {
    local status
    set -m
    "$@" &
    child=$! turn=$!
    set +m
    wait "$child"
    status=$?
    while ((status > 128)) && kill -0 "$child" 2>/dev/null; do # a signal that `finish` ignores
        wait "$child"
        status=$?
    done
    child=
    return "$status"
}

# What Azure is asked, it is asked in Python: a token then stays inside one process. cloud-init needs
# Python, so it is there. -I: nothing of it comes from the directory that trials write to.
guest() { python3 -I - "$@" <<<"$GUEST"; }

# retry SECONDS COMMAND...: until it succeeds, or SECONDS have passed. Pauses double up to 30 s.
retry() {
    local end=$((SECONDS + $1)) pause=1
    shift
    until "$@"; do
        if ((SECONDS + pause > end)); then
            say "$1 failed; giving up"
            return 1
        fi
        say "$1 failed; again in $pause s"
        attend sleep "$pause"
        pause=$((pause < 16 ? pause * 2 : 30))
    done
}

# stop_group GROUP: asks a process group to end, and ends it after 10 s; at a notice, after 5.
stop_group() {
    [[ -n $1 ]] && kill -TERM -- "-$1" 2>/dev/null || return 0
    local tries=100
    [[ ! -s $NOTICE ]] || tries=50
    while ((tries-- > 0)); do
        kill -0 -- "-$1" 2>/dev/null || return 0
        sleep 0.1
    done
    kill -KILL -- "-$1" 2>/dev/null
}

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

# --- the database ----------------------------------------------------------------------------------

# ask SQL COMMAND...: what psql answers, run by COMMAND. It finds the server and the password in files:
# its arguments can be read by every user of the VM, its environment by every program of ours.
ask() {
    PGSERVICEFILE=$HOME_DIR/pg_service.conf PGPASSFILE=$HOME_DIR/pgpass \
        "${@:2}" psql -XqtAw -v ON_ERROR_STOP=1 "service=powerlift" -c "$1"
}

# query FILE SQL [SECONDS]: writes the answer's rows to FILE.
query() { ask "$2" attend timeout -k 5 "${3:-$answer_in}" >"$1"; }

# column NAME FILE: writes a text of the experiment to FILE, byte for byte (base64 on the way, since
# psql ends every value with a line break of its own).
column() {
    query answer "SELECT encode(convert_to($1, 'UTF8'), 'base64') FROM experiment
                  WHERE id = $EXPERIMENT_ID" &&
        base64 -d answer >"$2"
}

read_experiment() {
    query found "SELECT count(*) FROM experiment WHERE id = $EXPERIMENT_ID" &&
        column shell_install shell_install && column pip_install pip_install &&
        column script startup.py &&
        query wheels.list "SELECT replace(encode(convert_to(name, 'UTF8'), 'base64'), E'\n', '')
                           FROM wheel WHERE experiment_id = $EXPERIMENT_ID ORDER BY name"
}

# Wheels arrive one by one, each under the last part of its name: a name is data, not a path.
read_wheels() {
    local code name
    local -a codes
    mapfile -t codes <wheels.list
    for code in "${codes[@]}"; do
        name=$(base64 -d <<<"$code")
        query answer "SELECT encode(embedded, 'base64') FROM wheel WHERE experiment_id = $EXPERIMENT_ID
                      AND name = convert_from(decode('$code', 'base64'), 'UTF8')" 600 &&
            base64 -d answer >"wheels/${name##*/}" || return 1
    done
}

# sql_text TEXT: an SQL expression for the text, whatever it holds.
sql_text() { printf "convert_from(decode('%s', 'base64'), 'UTF8')" "$(printf %s "$1" | base64 -w0)"; }

# Notes in the database what this VM is, for its results are those of its hardware. In tables of our
# own, made by whichever VM is first: Powerlift has none for it, and makes and drops its own alone.
record_start() {
    if query answer "DO \$\$ BEGIN
            IF to_regclass('powerlift_fleet_trial') IS NULL THEN
                PERFORM pg_advisory_xact_lock(hashtext('powerlift_fleet'));
                CREATE TABLE IF NOT EXISTS powerlift_fleet_runner (
                    experiment_id integer, runner_id integer, vm_name text, vm_size text,
                    location text, zone text, priority text, image text, image_version text,
                    cpu_model text, cpus integer, memory_bytes bigint, kernel text,
                    started_at timestamptz NOT NULL DEFAULT now(), ended_at timestamptz,
                    outcome text, exit_code integer, log text, seen_at timestamptz DEFAULT now(),
                    PRIMARY KEY (experiment_id, runner_id));
                CREATE TABLE IF NOT EXISTS powerlift_fleet_trial (
                    trial_id integer PRIMARY KEY, experiment_id integer, runner_id integer);
            END IF;
        END \$\$;
        DELETE FROM powerlift_fleet_runner
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

# An older table has no column for it. To add one needs every reader out of the way: not for long.
keep_log() {
    local log
    log=$(console_tail) && query answer "DO \$\$ BEGIN
            IF NOT EXISTS (SELECT FROM pg_attribute WHERE attname = 'log'
                           AND attrelid = to_regclass('powerlift_fleet_runner')) THEN
                ALTER TABLE powerlift_fleet_runner ADD COLUMN IF NOT EXISTS log text;
            END IF;
        END \$\$;
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

# Assigns the next trial to this runner, as Powerlift's Store.pick_trial would; the script will pick
# the same one. Powerlift does not record who ended a trial, so this is how a turn proves progress.
claim_trial() {
    local note=
    [[ $recorded == false ]] || note=", noted AS (
        INSERT INTO powerlift_fleet_trial (trial_id, experiment_id, runner_id)
        SELECT id, $EXPERIMENT_ID, $RUNNER_ID FROM mine
        ON CONFLICT (trial_id) DO UPDATE SET runner_id = EXCLUDED.runner_id)"
    query claimed "WITH mine AS (
        UPDATE trial SET runner_id = $RUNNER_ID, start_time = CURRENT_TIMESTAMP
        WHERE id = (SELECT id FROM trial WHERE experiment_id = $EXPERIMENT_ID
                      AND runner_id IN ($RUNNER_ID, -1)
                    ORDER BY runner_id DESC, id LIMIT 1 FOR UPDATE SKIP LOCKED)
        RETURNING id) $note
        SELECT id FROM mine"
}

look_at_claim() {
    local trial
    trial=$(<claimed)
    query ended "SELECT count(*) FROM trial WHERE id = ${trial:--1} AND end_time IS NOT NULL"
}

# mark_trial STATUS: ends the trial that was running when the script did, in Powerlift's way (-2).
mark_trial() {
    query marked "UPDATE trial SET runner_id = -2, end_time = CURRENT_TIMESTAMP,
                    errmsg = $(sql_text "The runner $(death "$1") while it ran this trial.")
                  WHERE $MINE RETURNING id"
}

death() {
    case $1 in
        132) echo "was killed: an instruction that this CPU does not have (exit code 132, SIGILL)" ;;
        134) echo "aborted itself (exit code 134, SIGABRT)" ;;
        137) echo "was killed, most likely by the kernel for want of memory (exit code 137, SIGKILL)" ;;
        139) echo "crashed: segmentation fault (exit code 139, SIGSEGV)" ;;
        143) echo "was told to stop by something else (exit code 143, SIGTERM)" ;;
        *) echo "ended with exit code $1" ;;
    esac
}

# Returns an unfinished trial to the queue, without what it has measured: it will be measured anew.
give_back() {
    [[ -e claimed ]] || return 0
    query answer "WITH given AS (UPDATE trial SET runner_id = -1, start_time = NULL
                                 WHERE $MINE RETURNING id)
                  DELETE FROM measure_outcome WHERE trial_id IN (SELECT id FROM given)" || {
        say "an unfinished trial could not be given back; the fleet will do so"
        return 1
    }
}

# --- what has to be installed ----------------------------------------------------------------------

apt_install() {
    local -a apt=(timeout -k 5 900 apt-get -q -y -o DPkg::Lock::Timeout=300)
    attend "${apt[@]}" update && attend "${apt[@]}" install "$@"
}

install_system() {
    local -a missing=()
    command -v psql >/dev/null || missing+=(postgresql-client)
    command -v curl >/dev/null || missing+=(curl ca-certificates)
    python3 -c 'import venv, ensurepip' 2>/dev/null || missing+=(python3 python3-venv)
    ((${#missing[@]} == 0)) || apt_install "${missing[@]}"
}

# split_words FILE: the words of FILE as a shell would take them apart (`"numpy<2"` is numpy<2), each ended
# by a NUL, in FILE.words. Nothing is expanded, redirected or run.
split_words() {
    python3 -c 'import shlex, sys
for word in shlex.split(sys.stdin.read()):
    print(word, end="\0")' <"$1" >"$1.words"
}

# As in Powerlift, `shell_install` holds the arguments of apt-get install.
install_shell() {
    local -a words
    split_words shell_install || fail "shell_install cannot be split into words: a quote is not closed"
    mapfile -d '' -t words <shell_install.words
    ((${#words[@]} == 0)) || retry "$INSTALL_PATIENCE" apt_install "${words[@]}" ||
        fail "apt-get could not install the experiment's shell_install"
}

make_venv() {
    if command -v uv >/dev/null; then
        attend python3 -m venv --clear --without-pip venv || return 1
        installer=(uv pip install --python "$PYTHON")
    else
        attend python3 -m venv --clear venv || return 1
        if attend timeout -k 5 120 "$PYTHON" -m pip install -q uv && venv/bin/uv --version; then
            installer=(venv/bin/uv pip install --python "$PYTHON")
        else
            installer=("$PYTHON" -m pip install)
        fi
    fi
    export UV_INDEX_STRATEGY=unsafe-best-match # as pip: the best version that any index has
}

# All in one go, so that every pin holds for every package, or the conflict is an error. psycopg in
# both versions: which of them `postgresql://` means depends on SQLAlchemy's version. setuptools for
# Powerlift's dependency stopit, which imports pkg_resources; setuptools 82 has dropped that.
install_packages() {
    local -a wheels=(wheels/*) words
    [[ -e ${wheels[0]} ]] || wheels=()
    mapfile -d '' -t words <pip_install.words
    attend timeout -k 5 1800 "${installer[@]}" powerlift 'setuptools<82' psycopg2-binary \
        'psycopg[binary]' "${wheels[@]}" "${words[@]}"
}

# The Azure CLI for the end, meanwhile and at the lowest priority: trials are being timed.
fetch_az() {
    curl -fsSL --retry 3 --max-time 120 -o az_install.sh https://aka.ms/InstallAzureCLIDeb &&
        nice -n 19 bash az_install.sh
}

begin_fetch_az() {
    [[ $DELETE_ON_COMPLETE == true ]] && ! command -v az >/dev/null || return 0
    set -m
    fetch_az >az_install.log 2>&1 &
    az_fetch=$!
    set +m
}

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
