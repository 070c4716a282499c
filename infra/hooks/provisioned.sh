#!/bin/sh
# azd's postprovision hook.
set -eu
hooks=$(dirname "$0")
sh "$hooks/secrets.sh"
sh "$hooks/database.sh"
