#!/bin/sh
# What several hooks need to know about the steps that a user may have to take.

# Whether psql can verify the server's certificate by the system's authorities, which version 16 introduced.
has_psql() {
  version=$(psql --version 2> /dev/null) || return 1
  version=${version##*) } # "psql (PostgreSQL) 16.3"
  [ "${version%%[!0-9]*}" -ge 16 ]
}

# The command that creates the roles in a private database. It contains no secret.
roles_inside_network() {
  echo "From a machine in the network of the VMs ($FLEET_VM_GROUP), with this folder, psql 16, and after az login:"
  echo "  FLEET_INSIDE_NETWORK=1 FLEET_DATABASE_HOST='$FLEET_DATABASE_HOST' FLEET_OPERATOR_NAME='$FLEET_OPERATOR_NAME' \\"
  echo "  FLEET_APP_IDENTITY='$FLEET_APP_IDENTITY' FLEET_VM_IDENTITY_NAME='$FLEET_VM_IDENTITY_NAME' sh infra/hooks/database.sh"
}

uri_of_database() {
  echo 'Write the URI of the database to a file that only you can read, then:'
  echo '  azd env set FLEET_DATABASE_URI_FILE FILE && azd hooks run postprovision'
}
