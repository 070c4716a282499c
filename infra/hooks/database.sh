#!/bin/sh
# Creates the roles of app and VMs in the new PostgreSQL server, and grants what they need. May be repeated; repeat it
# once Powerlift has created its tables (the first Store of an author), which it grants too:
#
#   azd hooks run postprovision
#
# The app creates and migrates its own tables.
set -eu
if [ -z "${FLEET_DATABASE_HOST:-}" ]; then
  : "${FLEET_APP_GROUP:?Run azd provision first.}"
  echo 'The database existed before: the roles of app and VMs in it are yours to create (docs/operating.md, Databases).'
  exit 0
fi
hooks=$(dirname "$0")
# shellcheck source=infra/hooks/steps.sh
. "$hooks/steps.sh"
if [ "${FLEET_NETWORK_ISOLATION:-false}" = true ] && [ -z "${FLEET_INSIDE_NETWORK:-}" ]; then
  echo 'The database is private, so it has no roles for app and VMs yet. Nothing was changed in it.'
  roles_inside_network
  exit 0
fi
if ! has_psql; then
  echo 'psql 16 or newer is not installed. Nothing was changed in the database. Install it, then: azd hooks run postprovision'
  exit 0
fi
PGPASSWORD=$(az account get-access-token --resource-type oss-rdbms --query accessToken --output tsv)
export PGPASSWORD PGHOST="$FLEET_DATABASE_HOST" PGUSER="$FLEET_OPERATOR_NAME" PGSSLMODE=verify-full PGSSLROOTCERT=system
export PGCONNECT_TIMEOUT=30
for script in principals.sql grants.sql; do
  database=powerlift
  [ "$script" = grants.sql ] || database=postgres # only there are the functions of Entra authentication
  if ! psql --quiet --no-psqlrc --set ON_ERROR_STOP=1 --dbname "$database" --file "$hooks/$script" --output /dev/null \
    --set app="$FLEET_APP_IDENTITY" --set vms="$FLEET_VM_IDENTITY_NAME"; then
    {
      echo "The roles of app and VMs are not complete: psql failed at $script, for the reason above."
      echo 'If it could not connect: azd env set FLEET_OPERATOR_ADDRESS YOUR-IPV4-ADDRESS && azd up'
      echo 'Otherwise correct the cause, then: azd up'
    } >&2
    exit 1
  fi
done
echo "Created: database roles $FLEET_APP_IDENTITY and $FLEET_VM_IDENTITY_NAME"
