#!/bin/bash
# Runs trials of one Powerlift experiment until none are left, then deletes this VM.
#
# cloud-init runs it once, as root, on Ubuntu. fleet/vm/render.py inserts the VM's values at the marked
# line. Every exit goes through `finish`, which logs the reason and deletes the VM (unless
# DELETE_ON_COMPLETE is false). Start reading at `main`, at the end.

# shellcheck disable=SC2329  # `retry`, `run_group` and `trap` call functions by name
set -u -o pipefail
exec </dev/null 3>&1 # children must not read a loop's input; 3 stays the console
trap : PIPE          # cloud-init's console is a pipe whose reader may exit first
export DEBIAN_FRONTEND=noninteractive HOME=${HOME:-/root} # cloud-init may not set HOME

# VALUES OF THIS VM

readonly HOME_DIR=${POWERLIFT_HOME:-$HOME/powerlift}
readonly PYTHON=$HOME_DIR/venv/bin/python
readonly NOTICE=$HOME_DIR/notice
ARCHITECTURE=$(uname -m)
readonly CA_FILE=/etc/ssl/certs/ca-certificates.crt

# Retry timeouts in seconds. Minutes, because a waiting VM costs money; but a role assignment takes up to
# ten minutes to take effect, and Azure rejects the deletion until then.
readonly DATABASE_TIMEOUT=${POWERLIFT_DATABASE_TIMEOUT:-600}
readonly INSTALL_TIMEOUT=${POWERLIFT_INSTALL_TIMEOUT:-300}
readonly DELETE_TIMEOUT=${POWERLIFT_DELETE_TIMEOUT:-900}
readonly HEARTBEAT_INTERVAL=${POWERLIFT_HEARTBEAT_INTERVAL:-$HEARTBEAT_SECONDS}
readonly USE_INTERVAL=${POWERLIFT_USE_INTERVAL:-5} # seconds between two samples
readonly OVERDUE_AFTER=${POWERLIFT_OVERDUE_AFTER:-$OVERDUE_SECONDS} # from a trial's start
readonly OVERDUE_HEARTBEATS=5 # in a row; after an outage of the database, the script needs time to write
readonly MAX_FAILED_RUNS=5 # in a row; more means that the experiment is broken
readonly LOG_BYTES=32768   # of the console log are stored in the database
readonly BROKEN=78 UNINSTALLABLE=69 WRONG_CPU=75 # exit codes; the others are in docs/vm.md
readonly RUN_BACKOFF=${POWERLIFT_RUN_BACKOFF:-2} # seconds after one failed run; grows quadratically

reason="internal error in the startup script"
child=         # the process group that `run_group` waits for
last_child=    # the previous one, which may still have processes
event_waiter=  # the process group that waits for scheduled events
heartbeat=     # the process group that sends heartbeats
use_sampler=   # the process group that samples memory and CPU
script_runs=false # the experiment's
is_overdue=false  # whether the script was stopped because its trial was overdue
registered=false # whether the database has a row for this VM
has_figures=false # whether the row has the columns of 52-order-and-hardware.sh
installer=()   # uv or pip, up to the packages
wheels=()      # the experiment's, as files
packages=()    # the experiment's, as the installer's arguments
options=()     # those of them that are options
resolver_options=() # those of the options that the resolver knows
query_timeout=60 # seconds

say() { printf 'powerlift %(%F %T)T: %s\n' -1 "$*"; }

# fail REASON [STATUS]: exits the script: with 143 if it was stopped externally, with BROKEN or UNINSTALLABLE if
# other VMs would fail as well, which the fleet then does not pay for. Not for subshells, where `exit` ends only
# the subshell.
fail() {
    reason=$1
    exit "${2:-1}"
}

# Runs a command in its own process group, so that bash handles signals immediately and `finish` can stop
# the command with all its children.
run_group() {
    local status
    set -m
    "$@" &
    child=$! last_child=$!
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

# In Python, so that tokens stay inside one process; cloud-init requires Python, so it is installed.
# -I prevents imports from the directory that trials write to.
agent() { python3 -I - "$@" <<<"$AGENT"; }

# keep_errors COMMAND...: copies the command's errors to the file `errors`, for `because`.
keep_errors() {
    local status=0
    "$@" 2>errors || status=$?
    cat errors >&2
    return "$status"
}

# The end of a reason: the message of the last command of `keep_errors`, which is its first line.
because() {
    local message
    message=$(sed -En '1s/^(psql: error: |ERROR: +)?(.+)/: \2/p' errors 2>/dev/null)
    ((${#message} <= 300)) || message=${message:0:299}…
    printf %s "$message"
}

# retry SECONDS COMMAND...: with exponential backoff up to 30 s, until SECONDS have passed.
retry() {
    local end=$((SECONDS + $1)) pause=1
    shift
    until "$@"; do
        if ((SECONDS + pause > end)); then
            say "$1 failed; giving up"
            return 1
        fi
        say "$1 failed; retrying in $pause s"
        run_group sleep "$pause"
        pause=$((pause < 16 ? pause * 2 : 30))
    done
}

# stop_group GROUP: sends SIGTERM, then SIGKILL after 10 s, or 5 s before an eviction.
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

