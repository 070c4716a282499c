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

