# Powerlift's own pick_trial sees neither of these values of runner_id. RESERVED: this VM runs the trial after its
# current one, with which it forms a group. AWAITS_REGULAR: the trial has lost its VM twice, and no Spot VM takes it.
readonly RESERVED=$((-10 - RUNNER_ID)) AWAITS_REGULAR=-3
hidden=$RESERVED ready=-1
[[ $IS_SPOT == true ]] || hidden+=", $AWAITS_REGULAR" ready+=", $AWAITS_REGULAR"
readonly HIDDEN=$hidden READY=$ready TRIALS="SELECT id FROM trial WHERE experiment_id = $EXPERIMENT_ID AND"

# Assigns the next trial to this runner, so that Powerlift's Store.pick_trial picks the same one. Powerlift does not
# record which runner finished a trial, so this detects progress. Claims -1 if the fleet drains: an outcome without
# an end.
claim_trial() { query claimed "$(claim_statement)"; }

# Prints the SQL, which our runner executes too: it runs many trials in one process.
claim_statement() {
    local note="" drains=false
    [[ $registered == false ]] || drains="EXISTS (SELECT FROM powerlift_fleet_runner
        WHERE $IDS AND outcome IS NOT NULL AND ended_at IS NULL)"
    [[ $registered == false ]] || note=", noted AS (
        INSERT INTO powerlift_fleet_trial (trial_id, experiment_id, runner_id)
        SELECT id, $EXPERIMENT_ID, $RUNNER_ID FROM mine WHERE place = 1
        ON CONFLICT (trial_id) DO UPDATE
            SET runner_id = EXCLUDED.runner_id, experiment_id = EXCLUDED.experiment_id)"
    printf %s "WITH picked AS MATERIALIZED ($(picked_trials)), mine AS (
        UPDATE trial SET runner_id = CASE place WHEN 1 THEN $RUNNER_ID ELSE $RESERVED END,
            start_time = CASE place WHEN 1 THEN CURRENT_TIMESTAMP END
        FROM picked WHERE trial.id = picked.id AND NOT $drains
        RETURNING trial.id, place) $note
        SELECT id FROM mine WHERE place = 1 UNION ALL SELECT -1 WHERE $drains"
}

# Prints a query for the trials to take, the first with place 1. A trial that this VM holds already comes first, then
# those that only VMs of regular priority take.
picked_trials() {
    local rank="md5('$TRIAL_SEED ' || id)"
    case $TRIAL_ORDER in
        paired) picked_group "$rank" ;;
        shuffled) picked_trial "$rank" ;;
        *) picked_trial "$IN_ORDER" ;;
    esac
}

# within RUNNER: a condition, and the order of the trials that it selects. PostgreSQL's index has them in this order. With
# `runner_id = ...` the planner may read the primary key instead, which has the same order: past every trial that has ended.
within() { printf %s "runner_id BETWEEN $1 AND $1"; }
readonly IN_ORDER="runner_id DESC, id"

# picked_trial ORDER: several queries, each only if those before it find nothing. A single one would sort every ready
# trial: the index has the values of runner_id in another order. So does a random order with locks, on disk if they
# are many; hence at first only those that lead, unless other VMs have locked them all.
picked_trial() {
    local condition found="" order=$1 ready
    ready=$(within -1)
    local -a conditions=("$(within "$RUNNER_ID")")
    [[ $IS_SPOT == true ]] || conditions+=("$(within "$AWAITS_REGULAR")")
    [[ $1 == "$IN_ORDER" ]] || conditions+=("id IN ($TRIALS runner_id = -1 ORDER BY $order LIMIT 100) AND runner_id = -1")
    for condition in "${conditions[@]}" "$ready"; do
        found+="${found:+, }($TRIALS $condition ORDER BY $order LIMIT 1 FOR UPDATE SKIP LOCKED)"
    done
    printf %s "SELECT coalesce($found) AS id, 1 AS place"
}

# picked_group RANK
picked_group() {
    local rank=$1 first
    first=$(first_of_group -1)
    [[ $IS_SPOT == true ]] || first="$(first_of_group "$AWAITS_REGULAR"), $first"
    # Groups in the order of their first trials: the client puts the hardest first. This trial locks the group, so
    # that two VMs never take parts of one.
    printf %s "WITH held AS (
            $TRIALS runner_id IN ($RUNNER_ID, $RESERVED) ORDER BY runner_id DESC, $rank LIMIT 1),
        next AS (
            SELECT task_id, replicate_num FROM trial
            WHERE id = CASE WHEN NOT EXISTS (SELECT FROM held) THEN coalesce($first) END),
        together AS (
            SELECT id FROM trial JOIN next USING (task_id, replicate_num)
            WHERE experiment_id = $EXPERIMENT_ID AND runner_id IN ($READY) FOR UPDATE OF trial SKIP LOCKED)
        SELECT id, 1 AS place FROM held
        UNION ALL SELECT id, row_number() OVER (ORDER BY $rank) FROM together"
}

# first_of_group RUNNER: prints a query that locks the first trial of the first group that no other VM has locked. It ends
# at the first one that it can lock, usually the first of all: OFFSET keeps the planner from joining all groups first, and
# the addition from reading the primary key (see `within`).
first_of_group() {
    printf %s "(SELECT id FROM trial AS first WHERE experiment_id = $EXPERIMENT_ID AND $(within "$1") AND NOT EXISTS (
        SELECT FROM trial AS earlier WHERE experiment_id = $EXPERIMENT_ID AND runner_id IN ($READY)
            AND earlier.id + 0 < first.id AND earlier.task_id = first.task_id
            AND earlier.replicate_num = first.replicate_num OFFSET 0)
        ORDER BY $IN_ORDER LIMIT 1 FOR UPDATE SKIP LOCKED)"
}

# Whether this VM has trials to run that a script which knows only Powerlift's pick_trial leaves.
find_hidden() {
    query left "SELECT count(*) FROM trial WHERE experiment_id = $EXPERIMENT_ID AND runner_id IN ($HIDDEN)"
}

check_claim() {
    local trial
    trial=$(<claimed)
    query ended "SELECT count(*) FROM trial WHERE id = ${trial:--1} AND end_time IS NOT NULL"
}

# mark_trial STATUS: marks the trial that was running when the script exited as failed (-2 in Powerlift).
mark_trial() {
    local why
    why="The runner $(describe_exit "$1") while running this trial."
    [[ $is_overdue == false ]] || why="Timeout failure: the experiment's script did not end this trial at its \
timeout of $TIMEOUT s. The VM stopped the script $OVERDUE_AFTER s after the trial's start."
    query marked "UPDATE trial SET runner_id = -2, end_time = CURRENT_TIMESTAMP, errmsg = $(sql_text "$why")
                  WHERE $MINE RETURNING id"
}

describe_exit() {
    case $1 in
        132) echo "crashed: instruction not supported by this CPU (exit code 132, SIGILL)" ;;
        134) echo "aborted (exit code 134, SIGABRT)" ;;
        137) echo "was killed, most likely because it ran out of memory (exit code 137, SIGKILL)" ;;
        139) echo "crashed: segmentation fault (exit code 139, SIGSEGV)" ;;
        143) echo "was terminated externally (exit code 143, SIGTERM)" ;;
        *) echo "exited with code $1" ;;
    esac
}

# release_trials STATUS: requeues the unfinished trial, deletes its partial measurements, and requeues the rest of its
# group. If the VM was stopped externally, the trial counts the loss: after two, it waits for a VM of regular priority.
release_trials() {
    [[ -e claimed ]] || return 0
    local first=$((RUNNER_ID / 10000 * 10000))
    if [[ $registered == true ]] && (($1 == 143)) && give_back "CASE WHEN EXISTS (
            SELECT FROM powerlift_fleet_loss AS loss JOIN trial AS held ON held.id = loss.trial_id
            WHERE held.experiment_id = $EXPERIMENT_ID AND held.runner_id = $RUNNER_ID AND held.end_time IS NULL
              AND loss.lost_at >= held.create_time AND loss.runner_id <> $RUNNER_ID
              AND loss.runner_id BETWEEN $first AND $((first + 9999)))
            THEN $AWAITS_REGULAR ELSE -1 END" "lost AS (
            INSERT INTO powerlift_fleet_loss (trial_id, runner_id, reason)
            SELECT id, $RUNNER_ID, $(sql_text "$VM_NAME: $reason.") FROM trial WHERE $MINE ON CONFLICT DO NOTHING),"; then
        return 0
    fi
    give_back -1 "" || {
        say "failed to requeue the unfinished trial; the fleet will requeue it"
        return 1
    }
}

# give_back RUNNER CTE: the value of runner_id that the trials get, and what the statement does before.
give_back() {
    query answer "WITH $2 given AS (
        UPDATE trial SET runner_id = $1, start_time = NULL
        WHERE experiment_id = $EXPERIMENT_ID AND runner_id IN ($RUNNER_ID, $RESERVED) AND end_time IS NULL
        RETURNING id)
        DELETE FROM measure_outcome WHERE trial_id IN (SELECT id FROM given)"
}

