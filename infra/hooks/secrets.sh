#!/bin/sh
# Creates the secrets of the key vault that do not exist yet; never changes one that does.
#
#   sh infra/hooks/secrets.sh                        the sealing key, and the key that signs notifications
#   sh infra/hooks/secrets.sh database-uri < FILE    the URI of an existing database
#
# Secrets are written through Azure Resource Manager, which never returns them: the caller needs no right to read the
# vault and no network path to it. A value is only ever in a file that nobody else can read.
set -eu
# shellcheck source=infra/hooks/steps.sh
. "$(dirname "$0")/steps.sh"
: "${FLEET_VAULT_ID:?Run azd provision first.}"
vault=https://management.azure.com$FLEET_VAULT_ID
app=https://management.azure.com/subscriptions/$AZURE_SUBSCRIPTION_ID/resourceGroups/$FLEET_APP_GROUP
app=$app/providers/Microsoft.Web/sites/$FLEET_APP_NAME

scratch=$(umask 077 && mktemp -d)
trap 'rm -rf "$scratch"' EXIT
# If this fails, nothing is known to be absent, and the script ends here.
az rest --method get --url "$vault/secrets?api-version=2023-07-01" --query 'value[].name' --output tsv > "$scratch/names"

create() { # NAME, value on stdin
  if grep -qx "$1" "$scratch/names"; then
    echo "Kept: secret $1"
    return 0
  fi
  (
    umask 077
    value=$(sed 's/["\\]/\\&/g')
    [ -n "$value" ] || { echo "The secret $1 is empty; nothing was written." >&2; exit 1; }
    printf '{"properties": {"value": "%s"}}' "$value" > "$scratch/body.json"
  )
  az rest --method put --url "$vault/secrets/$1?api-version=2023-07-01" --body "@$scratch/body.json" --output none
  touch "$scratch/changed"
  echo "Created: secret $1"
}

random() { # 32 bytes in base64
  head -c 32 /dev/urandom | base64
}

typed_uri() { # Prints what is typed unseen.
  trap 'stty echo; exit 130' INT
  stty -echo # before the question, after which somebody types
  printf 'URI of the database (postgresql://…; it is not shown): ' >&2
  read -r uri || uri=
  stty echo
  trap - INT
  echo >&2
  printf %s "$uri"
}

uri_of_existing_database() {
  if [ -n "${FLEET_DATABASE_URI_FILE:-}" ] && [ -r "$FLEET_DATABASE_URI_FILE" ]; then
    create database-uri < "$FLEET_DATABASE_URI_FILE"
    return 0
  fi
  [ ! -t 0 ] || typed_uri > "$scratch/uri"
  if [ -s "$scratch/uri" ]; then
    create database-uri < "$scratch/uri"
  else
    echo 'The app has no database yet: the secret database-uri is missing. Nothing else depends on it.'
    uri_of_database
  fi
}

if [ $# -gt 0 ]; then
  create "$1"
else
  random | tr '+/' '-_' | create sealing-key
  { printf 'whsec_'; random; } | create webhook-secret
  [ "${FLEET_DATABASE:-new}" != existing ] || grep -qx database-uri "$scratch/names" || uri_of_existing_database
fi
# The app reads a new secret within a day, or at once after this.
[ ! -e "$scratch/changed" ] ||
  az rest --method post --url "$app/config/configreferences/appsettings/refresh?api-version=2022-03-01" --output none
