#!/bin/sh
# Creates the development environment.
#   tools/bootstrap.sh PYTHON VENV STAMP
# PYTHON may be empty; the default is the first supported one of python3.12, python3.11 and python3.
# STAMP is written last, so that an interrupted installation is detected.
set -eu

# azure-functions 1.x, the app's programming model, supports Python up to 3.12.
suits='import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))'

python=
for candidate in ${1:-python3.12 python3.11 python3}; do
    if "$candidate" -c "$suits" 2>/dev/null; then
        python=$candidate
        break
    fi
done
if [ -z "$python" ]; then
    echo "Python 3.11 or 3.12 is required. Tried: ${1:-python3.12, python3.11, python3}." >&2
    echo "Install it (Debian, Ubuntu: apt-get install python3.12 python3.12-venv), or set its path:" >&2
    echo "  make PYTHON=/path/to/python3.12 ..." >&2
    exit 1
fi
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    echo "$python cannot create virtual environments: its module ensurepip is missing." >&2
    echo "Debian, Ubuntu: apt-get install python$version-venv" >&2
    exit 1
fi
exec "$python" tools/bootstrap.py "$2" "$3"
