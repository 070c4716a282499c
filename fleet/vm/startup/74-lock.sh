# --- the fleet's lock of packages --------------------------------------------------------------------

readonly HELD='?' # no digit of base64

# All VMs of a fleet install the packages of one lock (one for each CPU architecture): that of the request, or what
# the first VM to get here resolves. Without access to the tables, each VM resolves for itself. While it waits, a VM
# logs in once for each pause, which is at last as long as between heartbeats: all VMs of a fleet wait at once.
obtain_lock() {
    local pause=1 longest=${HEARTBEAT_INTERVAL%.*}
    ((longest >= 10)) || longest=10
    : >may_lock
    must read_lock
    while [[ ! -s lock && $(<may_lock) == 't|t' ]]; do
        [[ $(<answer) == "$HELD" ]] || must take_lease
        if [[ -s lease ]]; then
            retry "$INSTALL_TIMEOUT" resolve_packages || fail "failed to resolve the experiment's packages"
            break
        fi
        ((pause > 1)) || say "another VM resolves the packages of this fleet; waiting for them"
        run_group sleep "$pause"
        pause=$((pause * 2 < longest ? pause * 2 : longest))
        must read_lock
    done
    [[ -z $LOCK_DIGEST || $(<may_lock) == t* ]] ||
        fail "requirements_lock needs a grant: GRANT SELECT, INSERT ON powerlift_fleet_lock TO the VM's role" # not BROKEN
    [[ -s lock || $(<may_lock) == 't|t' ]] ||
        say "this VM resolves its own packages: its role may not write powerlift_fleet_lock and powerlift_fleet_runner"
    [[ -z $LOCK_DIGEST || $(lock_digest) == "$LOCK_DIGEST" ]] ||
        fail "the request's requirements_lock cannot be read from powerlift_fleet_lock" "$BROKEN"
}

# Reads the lock, if there is one, to the file `lock`. `answer` is HELD if there is none, and another VM has the lease.
read_lock() {
    local held=false
    : >lock
    : >answer
    [[ -s may_lock ]] || read_may_lock || return 1
    [[ $(<may_lock) == t* ]] || return 0
    [[ $(<may_lock) == 't|f' ]] || held=$(another_resolves)
    query answer "SELECT coalesce(
        (SELECT encode(convert_to(requirements, 'UTF8'), 'base64') FROM powerlift_fleet_lock
         WHERE key = '$LOCK_KEY' AND coalesce(architecture, '$ARCHITECTURE') = '$ARCHITECTURE'),
        CASE WHEN $held THEN '$HELD' ELSE '' END)" || return 1
    [[ $(<answer) == "$HELD" ]] || base64 -d answer >lock
}

# `may_lock`: "t" or "f" for whether this VM may read the lock, "|", and the same for whether it may make it.
read_may_lock() {
    query may_lock "SELECT coalesce(has_table_privilege(lock, 'SELECT'), false),
                    $registered AND coalesce(has_table_privilege(lock, 'INSERT')
                        AND has_table_privilege(to_regclass('powerlift_fleet_runner'), 'UPDATE'), false)
                    FROM to_regclass('powerlift_fleet_lock') AS lock"
}

lock_digest() { sha256sum lock | cut -c -64; }

# Takes the fleet's lease, unless a VM that is alive holds it. It needs no renewal: a VM that ends, sends no
# heartbeat, or takes longer than an hour, holds none. Two holders would only resolve twice: the first stored lock counts.
take_lease() {
    query lease "LOCK TABLE powerlift_fleet_runner IN SHARE UPDATE EXCLUSIVE MODE;
        UPDATE powerlift_fleet_runner SET resolving_at = now(), architecture = '$ARCHITECTURE'
        WHERE $IDS AND NOT ($(another_resolves)) RETURNING 1"
}

# Once a VM has failed to, all resolve at once: one after the other would each be paid for while it waits.
another_resolves() {
    printf %s "EXISTS (
        SELECT FROM powerlift_fleet_runner
        WHERE experiment_id = $EXPERIMENT_ID AND runner_id <> $RUNNER_ID
          AND runner_id / 10000 = $RUNNER_ID / 10000 AND architecture = '$ARCHITECTURE'
          AND resolving_at BETWEEN now() - interval '1 hour' AND clock_timestamp() AND ended_at IS NULL
          AND seen_at BETWEEN now() - 3 * $HEARTBEAT_INTERVAL * interval '1 s' AND clock_timestamp())
        AND NOT EXISTS (
        SELECT FROM powerlift_fleet_runner
        WHERE experiment_id = $EXPERIMENT_ID AND runner_id / 10000 = $RUNNER_ID / 10000
          AND outcome LIKE 'failed to resolve the experiment%')"
}

# Makes the lock. Leaves it to the installation with pip, with an option that only installing knows, and where a
# wheel contradicts the other packages.
resolve_packages() {
    local words
    [[ ${installer[0]} != "$PYTHON" ]] || return 0
    if run_logged timeout -k 5 1800 "${installer[0]}" pip compile -q --python "$PYTHON" --generate-hashes --no-header \
        --no-annotate -o compiled "${resolver_options[@]}" requirements.in; then
        complete_lock <compiled
        must store_lock
        return
    fi
    words=$(installer_says)
    [[ -n $words ]] || return 1
    if grep -Eq "$CONFLICT" install.log && ((${#wheels[@]} == 0 || ${#packages[@]} == 0)); then
        fail "failed to install the experiment's packages: $words" "$UNINSTALLABLE"
    fi
    say "the packages cannot be resolved in advance: $words"
}

# complete_lock: writes the lock on stdin to the file `lock`. Our tools keep the hashes of our own lock, whatever the
# index says.
complete_lock() {
    { echo "# Python $(python_version), $ARCHITECTURE" && python3 -I -c "$LOCKER" complete; } >lock
}

python_version() { "$PYTHON" -c 'import platform; print(platform.python_version())'; }

# Stores the lock, unless another VM has stored one, which then counts.
store_lock() {
    {
        printf "INSERT INTO powerlift_fleet_lock (key, digest, architecture, python, runner_id, requirements)
            VALUES ('%s', '%s', '%s', '%s', %d, convert_from(decode('" \
            "$LOCK_KEY" "$(lock_digest)" "$ARCHITECTURE" "$(python_version)" "$RUNNER_ID"
        base64 -w0 lock
        printf "', 'base64'), 'UTF8')) ON CONFLICT (key) DO NOTHING"
    } >store.sql # no argument is that long
    query answer '\i store.sql' && read_lock
}

install_locked() {
    local -a flags=(--require-hashes)
    sed -e ':a' -e '/\\$/{N;s/ *\\\n */ /;ba' -e '}' lock | grep -Ev '^ *(#|$)' >locked
    if grep -qv -e ' --hash=' locked; then
        say "without a hash: $(grep -v -e ' --hash=' locked | cut -d ' ' -f 1 | tr '\n' ' ')"
        flags=()
        [[ ${installer[0]} != "$PYTHON" ]] || sed -i 's/ --hash=[^ ]*//g' locked # pip wants all or none
    fi
    [[ " ${options[*]} " == *' --no-deps '* ]] || flags+=(--no-deps)
    install_from_cache "${flags[@]}" -r locked "${options[@]}" || run_installer "${flags[@]}" -r locked "${options[@]}"
}

# An image may have all packages of the lock in uv's cache: then no index is asked, and nothing is downloaded.
install_from_cache() {
    [[ ${installer[0]} != "$PYTHON" && -d ${UV_CACHE_DIR:-$HOME/.cache/uv} ]] || return 1
    run_group timeout -k 5 1800 "${installer[@]}" --offline "$@" >/dev/null 2>&1 &&
        say "all packages were in uv's cache"
}

# The end of a reason, if a file is not the one in the lock. It is retried, since a download may be damaged.
hash_mismatch() { sed -En '/Hash mismatch for/{s/^ *(cause: )?/: /p;q}' install.log; }

# What was installed without a lock becomes the lock of the fleet's other VMs.
freeze_packages() {
    [[ -s lease && ! -s lock ]] || return 0
    if [[ ${installer[0]} == "$PYTHON" ]]; then
        "${installer[@]:0:3}" freeze --all
    else
        "${installer[0]}" pip freeze --python "$PYTHON"
    fi 2>/dev/null | grep -v '^pip==' | complete_lock
    cp lock frozen
    must store_lock
    cmp -s lock frozen || retry "$INSTALL_TIMEOUT" install_packages ||
        fail "failed to install the experiment's packages"
}

record_packages() {
    [[ $registered == true ]] || return 0
    local digest=
    [[ ! -s lock ]] || digest=$(lock_digest)
    query answer "UPDATE powerlift_fleet_runner SET architecture = '$ARCHITECTURE',
                    python = $(sql_text "$(python_version)"), lock_digest = nullif('$digest', '') WHERE $IDS" ||
        say "failed to record the packages of this VM"
}
