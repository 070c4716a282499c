# --- installation ----------------------------------------------------------------------------------

# After an interrupted dpkg, of the image or of an earlier try, apt-get fails until this has run.
configure_dpkg() { run_group timeout -k 5 900 dpkg --configure -a; }

apt_install() {
    local -a apt=(timeout -k 5 900 apt-get -q -y -o DPkg::Lock::Timeout=300)
    if ! run_group "${apt[@]}" update || ! run_group "${apt[@]}" install "$@"; then
        configure_dpkg
        return 1
    fi
}

install_system() {
    local -a missing=()
    command -v psql >/dev/null || missing+=(postgresql-client)
    [[ -e $CA_FILE ]] || missing+=(ca-certificates)
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

# Reads the experiment's packages, and writes our own requirements to the files `uv` and `tools`. A tool that
# the experiment names in any form (a version, a Git URL, a wheel) is not pinned by us.
choose_packages() {
    split_words pip_install || fail "invalid pip_install: unclosed quote"
    mapfile -d '' -t packages <pip_install.words
    local -a wheels=(wheels/*)
    [[ ! -e ${wheels[0]} ]] || packages=("${wheels[@]}" "${packages[@]}")
    grep '^uv==' <<<"$TOOLS" >uv
    python3 -I -c 'import re, sys
words = [re.sub("[-_.]+", "-", word).lower() for word in sys.argv[2:]]
for pin in sys.argv[1].splitlines():
    name = re.match("[a-z0-9-]+", pin).group()
    named = any(re.search("(?<![a-z0-9])%s(?![a-z0-9])" % name, word) for word in words)
    if name != "uv":
        print(pin.partition("==")[0] if named else pin)' "$TOOLS" "${packages[@]}" >tools
}

# Creates the virtual environment, with an installer: the image's uv, else the pinned uv, else pip.
make_venv() {
    if command -v uv >/dev/null; then
        run_group python3 -m venv --clear --without-pip venv || return 1
        installer=(uv pip install --python "$PYTHON")
        return
    fi
    run_group python3 -m venv --clear venv || return 1
    if run_group timeout -k 5 120 "$PYTHON" -m pip install -q --only-binary=:all: --require-hashes -r uv &&
        venv/bin/uv --version; then
        installer=(venv/bin/uv pip install --python "$PYTHON")
    else
        sed -i 's/ --hash=.*//' tools # with any hash, pip requires those of all dependencies
        installer=("$PYTHON" -m pip install)
    fi
}

# In one command, so that conflicting pins are an error. uv takes a package from the first index that has it,
# whatever version a later index has. If the experiment adds an index, which may lack our tools' versions, uv
# takes a later index where the first has no suitable version.
install_packages() {
    [[ ! " ${packages[*]}" =~ ' --'(extra-index-url|index)[\ =] ]] || export UV_INDEX_STRATEGY=unsafe-first-match
    run_group timeout -k 5 1800 "${installer[@]}" -r tools 'setuptools<82' "${packages[@]}"
}
