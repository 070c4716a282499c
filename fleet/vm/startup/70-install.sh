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

