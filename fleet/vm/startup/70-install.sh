# --- installation ----------------------------------------------------------------------------------

apt_install() {
    local -a apt=(timeout -k 5 900 apt-get -q -y -o DPkg::Lock::Timeout=300)
    run_group "${apt[@]}" update && run_group "${apt[@]}" install "$@"
}

install_system() {
    local -a missing=()
    command -v psql >/dev/null || missing+=(postgresql-client)
    command -v curl >/dev/null || missing+=(curl ca-certificates)
    python3 -c 'import venv, ensurepip' 2>/dev/null || missing+=(python3 python3-venv)
    ((${#missing[@]} == 0)) || apt_install "${missing[@]}"
}

# split_words FILE: splits FILE like a shell (`"numpy<2"` is numpy<2) into NUL-terminated words in
# FILE.words, without expansion, redirection or execution.
split_words() {
    python3 -c 'import shlex, sys
for word in shlex.split(sys.stdin.read()):
    print(word, end="\0")' <"$1" >"$1.words"
}

# As in Powerlift, `shell_install` contains arguments of apt-get install.
install_shell() {
    local -a words
    split_words shell_install || fail "invalid shell_install: unclosed quote"
    mapfile -d '' -t words <shell_install.words
    ((${#words[@]} == 0)) || retry "$INSTALL_TIMEOUT" apt_install "${words[@]}" ||
        fail "apt-get failed to install the experiment's shell_install"
}

make_venv() {
    if command -v uv >/dev/null; then
        run_group python3 -m venv --clear --without-pip venv || return 1
        installer=(uv pip install --python "$PYTHON")
    else
        run_group python3 -m venv --clear venv || return 1
        if run_group timeout -k 5 120 "$PYTHON" -m pip install -q uv && venv/bin/uv --version; then
            installer=(venv/bin/uv pip install --python "$PYTHON")
        else
            installer=("$PYTHON" -m pip install)
        fi
    fi
    export UV_INDEX_STRATEGY=unsafe-best-match # like pip: the best version from any index
}

# In one command, so that conflicting pins are an error. Both versions of psycopg, because the default
# driver depends on SQLAlchemy's version. Powerlift's dependency stopit requires pkg_resources, which
# setuptools 82 removed.
install_packages() {
    local -a wheels=(wheels/*) words
    [[ -e ${wheels[0]} ]] || wheels=()
    mapfile -d '' -t words <pip_install.words
    run_group timeout -k 5 1800 "${installer[@]}" powerlift 'setuptools<82' psycopg2-binary \
        'psycopg[binary]' "${wheels[@]}" "${words[@]}"
}

# Installs the Azure CLI in the background, at the lowest priority, because trials are timed.
fetch_az() {
    curl -fsSL --retry 3 --max-time 120 -o az_install.sh https://aka.ms/InstallAzureCLIDeb &&
        nice -n 19 bash az_install.sh
}

start_fetch_az() {
    [[ $DELETE_ON_COMPLETE == true ]] && ! command -v az >/dev/null || return 0
    set -m
    fetch_az >az_install.log 2>&1 &
    az_fetch=$!
    set +m
}

