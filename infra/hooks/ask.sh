#!/bin/sh
# azd's preprovision hook: asks for what the azd environment does not contain, and keeps the answers there.
# Without a terminal it takes the defaults. To change an answer: azd env set NAME VALUE.
set -eu

keep() { # NAME VALUE
  azd env set "$1" "$2"
  eval "$1=\$2"
}

ask() { # NAME DEFAULT QUESTION
  eval "known=\${$1+yes}"
  [ -z "$known" ] || return 0
  answer=$2
  if [ -t 0 ]; then
    printf '%s [%s]: ' "$3" "$2"
    read -r typed
    answer=${typed:-$2}
  fi
  keep "$1" "$answer"
}

ask AZURE_LOCATION eastus 'Region of the app'
ask FLEET_VM_REGIONS "$AZURE_LOCATION" 'Regions of VMs, separated by commas'
ask FLEET_DATABASE new 'A new PostgreSQL server, or an existing database (new, existing)'
ask FLEET_NETWORK_ISOLATION false 'Private endpoints for storage, vault and database (true, false)'
case $FLEET_DATABASE,$FLEET_NETWORK_ISOLATION in
  new,false)
    # Before anything is created, of which FLEET_VAULT_ID would tell.
    # shellcheck source=infra/hooks/steps.sh
    . "$(dirname "$0")/steps.sh"
    if [ -z "${FLEET_VAULT_ID:-}" ] && ! has_psql; then
      echo 'psql 16 or newer is not installed, and creates the roles of app and VMs in the new database. Nothing was created.' >&2
      echo 'Install it (https://www.postgresql.org/download), then: azd up' >&2
      exit 1
    fi
    ask FLEET_OPERATOR_ADDRESS '' 'Your public IPv4 address, which may connect to the database'
    ;;
  existing,*)
    ask FLEET_DATABASE_URI_FILE '' 'File with the URI of the database; empty: asked for when the key vault exists'
    ;;
esac
ask FLEET_MAX_VMS 100 'VMs of all fleets at once, at most'
ask FLEET_BUDGET 0 'US dollars per month of all fleets, at most; 0: no limit'
ask FLEET_ALERT_EMAILS '' 'Addresses that get alerts, separated by commas'
[ -n "${FLEET_BUDGET_START:-}" ] || keep FLEET_BUDGET_START "$(date -u +%Y-%m-01)"

# The database's administrator, who creates the roles of app and VMs.
if [ -z "${FLEET_OPERATOR_NAME:-}" ]; then
  if [ "$(az account show --query user.type --output tsv)" = user ]; then
    keep AZURE_PRINCIPAL_TYPE User
    keep AZURE_PRINCIPAL_ID "$(az ad signed-in-user show --query id --output tsv)"
    keep FLEET_OPERATOR_NAME "$(az ad signed-in-user show --query userPrincipalName --output tsv)"
  else
    application=$(az account show --query user.name --output tsv)
    keep AZURE_PRINCIPAL_TYPE ServicePrincipal
    keep AZURE_PRINCIPAL_ID "$(az ad sp show --id "$application" --query id --output tsv)"
    keep FLEET_OPERATOR_NAME "$(az ad sp show --id "$application" --query displayName --output tsv)"
  fi
fi
