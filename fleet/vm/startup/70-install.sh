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
try:
    words = shlex.split(sys.stdin.read())
except ValueError:
    sys.exit(65)
for word in words:
    print(word, end="\0")' <"$1" >"$1.words" && return
    (($? != 65)) || fail "invalid $1: unclosed quote" "$BROKEN"
    fail "$1 could not be read"
}

# As in Powerlift, `shell_install` continues the command "apt-get install": with package names, which are
# data, or if it contains an operator (`libgomp1 && ldconfig`), with commands for bash.
install_shell() {
    local -a words
    split_words shell_install
    mapfile -d '' -t words <shell_install.words
    if has_operator shell_install; then
        retry "$INSTALL_TIMEOUT" run_shell_install ||
            fail "the commands in the experiment's shell_install failed"
    elif ((${#words[@]} > 0)) && ! are_installed "${words[@]}"; then
        retry "$INSTALL_TIMEOUT" install_words "${words[@]}" ||
            fail "apt-get failed to install the experiment's shell_install"
    fi
}

# are_installed PACKAGE...: whether the image has them all, in whatever version. Not if a word is more than a name.
are_installed() {
    [[ " $* " != *' -'* ]] && dpkg-query -W -f '${db:Status-Status}\n' "$@" >statuses 2>/dev/null &&
        ! grep -qvx installed statuses && say "shell_install: the image has $*"
}

# install_words PACKAGE...: a package that no up-to-date list has ends the VM at once, with apt's sentence.
install_words() {
    apt_install "$@" && return
    local said
    said=$(apt_says "$@")
    [[ -z $said ]] || fail "apt-get failed to install the experiment's shell_install: $said" "$UNINSTALLABLE"
    return 1
}

# Empty if a list could not be updated: the package may be in that one.
apt_says() {
    timeout -k 5 900 apt-get -q -o DPkg::Lock::Timeout=300 -o APT::Update::Error-Mode=any update >&2 || return 0
    timeout -k 5 900 apt-get -q -s install "$@" 2>&1 | sed -En "s/^E: ($OF_APT)/\1/p" | head -n 1 | cut -c -500
}

# has_operator FILE: whether FILE contains an operator of the shell that is not quoted.
has_operator() {
    python3 -c 'import shlex, sys
words = shlex.shlex(sys.stdin.read(), posix=True, punctuation_chars=";|&<>()")
words.whitespace_split, words.commenters = True, ""
sys.exit(not any(set(word) <= set(";|&<>()") for word in words if word))' <"$1"
}

# `apt_install` without packages reads the lists of packages.
run_shell_install() {
    { printf %s 'apt-get -q -y -o DPkg::Lock::Timeout=300 install ' && cat shell_install; } >shell_install.sh
    apt_install && run_group timeout -k 5 1800 bash -o pipefail shell_install.sh
}
