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

