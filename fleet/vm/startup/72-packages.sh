# --- packages --------------------------------------------------------------------------------------

# Messages of uv and pip, as extended regular expressions. Any error that is not permanent is retried.
readonly UNKNOWN_TO_UV="^error: (unexpected argument|pip's)"
readonly CONFLICT='No solution found|ResolutionImpossible|No matching distribution found'
readonly OF_UV='Couldn.t parse|Error parsing|a value is|invalid value|the argument|Failed to (parse|read)|File not found|Distribution not found'
readonly OF_PIP='Invalid requirement|Could not open|Can not perform|Wheel .* is invalid|.* not a supported wheel'
readonly OF_INDEX='Retrying [(]|Could not fetch URL|[45][0-9][0-9] (Client|Server) Error|( a |[(])(40[137]|429|5[0-9][0-9]) '
readonly OF_APT='(Unable to locate package|Version .* was not found|Package .* has no installation|Command line option).*'
readonly PERMANENT="$UNKNOWN_TO_UV|^error: ($OF_UV)|$CONFLICT|^(no such )?option|option requires|^ERROR: ($OF_PIP)"

# Reads the experiment's packages, and writes our own requirements to the files `uv` and `tools`, those of the
# experiment to `requirements.in`.
choose_packages() {
    split_words pip_install
    mapfile -d '' -t packages <pip_install.words
    wheels=(wheels/*)
    [[ -e ${wheels[0]} ]] || wheels=()
    grep '^uv==' <<<"$TOOLS" >uv
    python3 -I -c "$LOCKER" split "$TOOLS" "${wheels[@]}" || fail "pip_install could not be read"
    mapfile -d '' -t options <options
    mapfile -d '' -t resolver_options <resolver_options
    # uv takes a package from the first index that has it, whatever version a later index has. If the experiment
    # adds an index, which may lack our tools' versions, uv takes a later index where the first has no
    # suitable version.
    [[ ! " ${packages[*]}" =~ ' --'(extra-index-url|index)[\ =] ]] || export UV_INDEX_STRATEGY=unsafe-first-match
}

# Creates the virtual environment, with an installer: the image's uv, else the pinned uv, else pip.
make_venv() {
    if command -v uv >/dev/null; then
        run_group python3 -m venv --clear --without-pip venv || return 1
        installer=(uv pip install --python "$PYTHON")
        return
    fi
    use_pip || return 1
    if run_group timeout -k 5 120 "${installer[@]}" -q --only-binary=:all: --require-hashes -r uv &&
        venv/bin/uv --version; then
        installer=(venv/bin/uv pip install --python "$PYTHON")
    fi
}

use_pip() {
    installer=("$PYTHON" -m pip install)
    run_group python3 -m venv --clear venv
}

# Errors that no retry cures end the VM, with the installer's words as the reason.
install_packages() {
    local words
    install_all && return
    if grep -Eq "$UNKNOWN_TO_UV" install.log; then
        words=$(installer_says)
        ! has_uv_index || words+=". pip is not used, since it would not prefer the index that uv is to use"
        ! has_uv_index || fail "failed to install the experiment's packages: $words. Remove the option" "$BROKEN"
        say "$words: installing with pip, which may know the option"
        use_pip && install_all && return
    fi
    words=$(installer_says)
    [[ -n $words ]] || return 1
    # A CPU of another architecture may have the version, or the wheel.
    ! grep -Eq "$CONFLICT|supported wheel" install.log ||
        fail "failed to install the experiment's packages: $words" "$UNINSTALLABLE"
    fail "failed to install the experiment's packages: $words" "$BROKEN"
}

# Ends the VM before its first trial if the experiment's script, or the trial function that it reads, has a syntax
# error or begins by importing what is not installed. Every trial would fail so, on every VM.
check_script() {
    local said
    said=$("$PYTHON" - check_script startup.py trial_fn.py <<<"$AGENT") || return 0
    [[ -z $said ]] || fail "$said" "$BROKEN"
}

# In one command, so that conflicting pins are an error. But a wheel may contradict a package, like a developer's
# build of one of its dependencies: Powerlift installs wheels last, which replaces the dependency.
install_all() {
    if [[ -s lock ]]; then
        install_locked
        return
    fi
    local -a ours=(-r tools 'setuptools<82')
    # With any hash, pip requires those of all dependencies.
    [[ ${installer[0]} != "$PYTHON" ]] || sed -i 's/ --hash=.*//' tools
    run_installer "${ours[@]}" "${wheels[@]}" "${packages[@]}" && return
    if ((${#wheels[@]} == 0 || ${#packages[@]} == 0)) || ! grep -Eq "$CONFLICT" install.log; then
        return 1
    fi
    say "a wheel contradicts the other packages: installing the wheels after them, as Powerlift does"
    run_installer "${ours[@]}" "${packages[@]}" && run_installer "${wheels[@]}"
}

run_installer() { run_logged timeout -k 5 1800 "${installer[@]}" "$@"; }

# run_logged COMMAND...: the output also goes to the file install.log.
run_logged() {
    local status tee
    exec 4> >(exec tee -p install.log)
    tee=$!
    run_group "$@" >&4 2>&1
    status=$?
    kill -KILL -- "-$last_child" 2>/dev/null # what it left would keep the log open
    exec 4>&-
    wait "$tee"
    return "$status"
}

# Whether the image or the experiment names an index for uv, from which a public one must not take over.
has_uv_index() {
    [[ -e /etc/uv/uv.toml || -e $HOME/.config/uv/uv.toml ]] || compgen -v | grep -q '^UV_.*INDEX'
}

# The installer's sentence about a permanent error, without credentials; empty for any other error. pip and uv find
# no version of a package while the index does not respond, or refuses.
installer_says() {
    ! grep -Eq "$OF_INDEX" install.log || return 0
    grep -E -m 1 -A 2 "$PERMANENT" install.log | sed -E '2,${/^ +cause: /!d}
        s/^(error|ERROR): //; s/^ +cause:/:/; s#(:/+)[^ ]*@#\1***@#g; s#[?][^ ]+#?***#g' | tr -d '\n' | cut -c -500
}
