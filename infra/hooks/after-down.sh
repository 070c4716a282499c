#!/bin/sh
# azd's postdown hook: deletes what is in no resource group, the custom roles and their assignments.
set -eu
[ -n "${FLEET_REMOVED_ROLES:-}" ] || exit 0
az role definition list --custom-role-only --output tsv \
  --query "[?starts_with(roleName, 'Powerlift Fleet ') && ends_with(roleName, '($FLEET_REMOVED_ROLES)')].name" |
  while read -r role; do
    az role assignment list --all --role "$role" --query '[].id' --output tsv |
      while read -r assignment; do
        az role assignment delete --ids "$assignment" < /dev/null
      done
    az role definition delete --name "$role" < /dev/null
    echo "Deleted: role $role"
  done
