#!/bin/sh
# azd's postdeploy hook: is the app healthy, and may it provision? It plans one VM and creates nothing.
set -eu
attempts=30
until curl --silent --fail --max-time 20 --output /dev/null "$FLEET_URL/api/health"; do
  attempts=$((attempts - 1))
  if [ "$attempts" -eq 0 ]; then
    echo "The app is not healthy after five minutes. See which check fails: GET $FLEET_URL/api/health/details" >&2
    exit 1
  fi
  sleep 10
done
echo "Healthy: $FLEET_URL"

# A file instead of an argument, which the process list would show.
scratch=$(umask 077 && mktemp -d)
trap 'rm -rf "$scratch"' EXIT
key=$(az functionapp keys list -g "$FLEET_APP_GROUP" -n "$FLEET_APP_NAME" --query functionKeys.default --output tsv)
(umask 077 && printf 'header = "x-functions-key: %s"\n' "$key" > "$scratch/key")
curl --silent --fail --max-time 60 --config "$scratch/key" --header 'Content-Type: application/json' \
  --data "{\"experiment_id\": 1, \"n_instances\": 1, \"location\": \"${FLEET_VM_REGIONS%%,*}\"}" \
  --output "$scratch/plan.json" "$FLEET_URL/api/plan" || { echo 'The app did not answer a plan.' >&2; exit 1; }
# One check per line. A new database has no experiment, so its check fails.
if tr '{}' '[\n*]' < "$scratch/plan.json" | grep '"status": *"fault"' | grep -v '"name": *"trials"' >&2; then
  echo 'The plan of one VM has the faults above.' >&2
  exit 1
fi
echo "Planned: one VM in ${FLEET_VM_REGIONS%%,*}, without faults"
echo "Next: export FLEET_URL=$FLEET_URL, and FLEET_KEY as docs/operating.md describes under Keys"
