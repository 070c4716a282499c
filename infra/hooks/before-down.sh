#!/bin/sh
# azd's predown hook: says what still runs. azd asks for confirmation afterwards.
set -eu
[ -n "${FLEET_VM_GROUP:-}" ] || exit 0
vms=$(az vm list --resource-group "$FLEET_VM_GROUP" --query '[].name' --output tsv)
if [ -n "$vms" ]; then
  echo "These VMs still run, and are deleted with their trials:"
  echo "$vms"
  echo 'To keep the results, answer no, cancel the fleets (powerlift-fleet cancel), and wait until they have ended.'
else
  echo 'No VM runs.'
fi
echo 'Everything is deleted: the app, its fleets, the database with all results, and the virtual networks.'
azd env set FLEET_REMOVED_ROLES "$FLEET_ROLE_SUFFIX" # azd forgets its outputs, and after-down.sh needs this one
