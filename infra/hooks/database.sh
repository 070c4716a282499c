#!/bin/sh
# Creates the roles of app and VMs in the new PostgreSQL server, and grants what they need. May be repeated; repeat it
# once Powerlift has created its tables (the first Store of an author), which it grants too:
#
#   azd hooks run postprovision
#
# The app creates and migrates its own tables.
set -eu
[ -n "${FLEET_DATABASE_HOST:-}" ] || exit 0
again='azd hooks run postprovision'
if [ "${FLEET_NETWORK_ISOLATION:-false}" = true ] && [ -z "${FLEET_INSIDE_NETWORK:-}" ]; then
  echo "The database is private. Create its roles from a machine in its network, with FLEET_INSIDE_NETWORK=1: $again"
  exit 0
fi
if ! command -v psql > /dev/null; then
  echo "psql 16 or newer is not installed, so the database has no roles for app and VMs yet. Install it, then: $again"
  exit 0
fi
PGPASSWORD=$(az account get-access-token --resource-type oss-rdbms --query accessToken --output tsv)
export PGPASSWORD PGHOST="$FLEET_DATABASE_HOST" PGUSER="$FLEET_OPERATOR_NAME" PGSSLMODE=verify-full PGSSLROOTCERT=system
hooks=$(dirname "$0")
for script in principals.sql grants.sql; do
  database=powerlift
  [ "$script" = grants.sql ] || database=postgres # only there are the functions of Entra authentication
  psql --quiet --no-psqlrc --set ON_ERROR_STOP=1 --dbname "$database" --file "$hooks/$script" \
    --set app="$FLEET_APP_IDENTITY" --set vms="$FLEET_VM_IDENTITY_NAME"
done
echo "Created: database roles $FLEET_APP_IDENTITY and $FLEET_VM_IDENTITY_NAME"
