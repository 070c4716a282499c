#!/bin/sh
# azd's postdeploy hook: is the app healthy, and may it provision? It plans one VM and creates nothing. Otherwise it
# names the missing step. To repeat it: azd hooks run postdeploy.
set -eu
# shellcheck source=infra/hooks/steps.sh
. "$(dirname "$0")/steps.sh"
: "${FLEET_APP_GROUP:?Run azd provision first.}"

# A file instead of an argument, which the process list would show.
scratch=$(umask 077 && mktemp -d)
trap 'rm -rf "$scratch"' EXIT

get() { # PATH, further options of curl
  path=$1
  shift
  curl --silent --fail --max-time 60 --config "$scratch/key" "$@" "$FLEET_URL/api/$path"
}

failed_checks() { # name: what is wrong
  tr '{}' '[\n*]' < "$scratch/details.json" |
    sed -nE 's/.*"name": *"([^"]*)", *"status": *"(failed|timeout)", *"detail": *"(.*)".*/  \1: \3/p'
}

missing_step() { # Of the first check that has one; the others often follow from it.
  case $(failed_checks | cut -d : -f 1) in
    *settings* | *sealing_key* | *database*) ;;
    *) return 0 ;;
  esac
  echo 'The missing step is probably this one.'
  case ${FLEET_DATABASE:-new},${FLEET_NETWORK_ISOLATION:-false},$(failed_checks | cut -d : -f 1) in
    existing,*) uri_of_database ;;
    new,true,*database*) roles_inside_network ;;
    *) echo 'The hook after provisioning has not succeeded: azd hooks run postprovision' ;;
  esac
  echo 'Then: azd hooks run postdeploy'
}

key=$(az functionapp keys list -g "$FLEET_APP_GROUP" -n "$FLEET_APP_NAME" --query functionKeys.default --output tsv)
(umask 077 && printf 'header = "x-functions-key: %s"\n' "$key" > "$scratch/key")
attempts=${FLEET_SMOKE_TEST_ATTEMPTS:-30}
until curl --silent --fail --max-time 20 --output /dev/null "$FLEET_URL/api/health"; do
  attempts=$((attempts - 1))
  if [ "$attempts" -le 0 ]; then
    {
      if get health/details --output "$scratch/details.json"; then
        echo 'The app is deployed, but not healthy after five minutes:'
        failed_checks
        missing_step
      else
        echo "The app is deployed, but did not answer within five minutes. Read the log of $FLEET_APP_NAME in Application"
        echo 'Insights (docs/observability.md), then: azd hooks run postdeploy'
      fi
    } >&2
    exit 1
  fi
  sleep 10
done
echo "Healthy: $FLEET_URL"

get plan --header 'Content-Type: application/json' \
  --data "{\"experiment_id\": 1, \"n_instances\": 1, \"location\": \"${FLEET_VM_REGIONS%%,*}\"}" \
  --output "$scratch/plan.json" || { echo 'The app did not answer a plan.' >&2; exit 1; }
# One check per line. A new database has no experiment, so its check fails.
if tr '{}' '[\n*]' < "$scratch/plan.json" | grep '"status": *"fault"' | grep -v '"name": *"trials"' >&2; then
  echo 'The plan of one VM has the faults above.' >&2
  exit 1
fi
echo "Planned: one VM in ${FLEET_VM_REGIONS%%,*}, without faults"
echo 'Next: powerlift-fleet login'
