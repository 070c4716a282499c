# --- the database ----------------------------------------------------------------------------------

# Writes a token of the VM's identity as the database password. It is valid for hours; libpq reads the file at
# each login.
renew_password() { agent write_password "$HOME_DIR/pgpass" "$DATABASE_IDENTITY" "$RESOURCE_MANAGER"; }

get_password() { keep_errors run_group renew_password; }

# psql_with SQL COMMAND...: runs psql through COMMAND. Server and password come from files, because other
# users can read arguments and child processes the environment.
psql_with() {
    PGSERVICEFILE=$HOME_DIR/pg_service.conf PGPASSFILE=$HOME_DIR/pgpass \
        "${@:2}" psql -XqtAw -v ON_ERROR_STOP=1 "service=powerlift" -c "$1"
}

# query FILE SQL [TIMEOUT]: writes the rows to FILE.
query() { keep_errors psql_with "$2" run_group timeout -k 5 "${3:-$query_timeout}" >"$1"; }

# must COMMAND: ends the VM if the database stays away.
must() { retry "$DATABASE_TIMEOUT" "$1" || fail "lost the connection to the database$(because)"; }

# column NAME FILE: writes a column of the experiment to FILE. Base64, because psql appends a newline.
column() {
    query answer "SELECT encode(convert_to($1, 'UTF8'), 'base64') FROM experiment
                  WHERE id = $EXPERIMENT_ID" &&
        base64 -d answer >"$2"
}

read_experiment() {
    query found "SELECT count(*) FROM experiment WHERE id = $EXPERIMENT_ID" &&
        column shell_install shell_install && column pip_install pip_install &&
        column script startup.py && column trial_fn trial_fn.py &&
        query wheels.list "SELECT replace(encode(convert_to(name, 'UTF8'), 'base64'), E'\n', '')
                           FROM wheel WHERE experiment_id = $EXPERIMENT_ID ORDER BY name"
}

# Only the last component of a wheel's name is used, because the name is untrusted.
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

# sql_text TEXT: an injection-safe SQL expression for the text.
# A text that was shortened may end inside a character.
sql_text() {
    local text
    text=$(printf %s "$1" | { iconv -c -f UTF-8 -t UTF-8 2>/dev/null || :; } | base64 -w0)
    printf "convert_from(decode('%s', 'base64'), 'UTF8')" "$text"
}

