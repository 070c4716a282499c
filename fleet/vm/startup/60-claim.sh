# Assigns the next trial to this runner like Powerlift's Store.pick_trial, so that the script picks the same
# trial. Powerlift does not record which runner finished a trial, so this detects progress. Claims -1 if the
# fleet drains: an outcome without an end.
claim_trial() {
    local note="" drains=false
    [[ $registered == false ]] || drains="EXISTS (SELECT FROM powerlift_fleet_runner
        WHERE $IDS AND outcome IS NOT NULL AND ended_at IS NULL)"
    [[ $registered == false ]] || note=", noted AS (
        INSERT INTO powerlift_fleet_trial (trial_id, experiment_id, runner_id)
        SELECT id, $EXPERIMENT_ID, $RUNNER_ID FROM mine
        ON CONFLICT (trial_id) DO UPDATE
            SET runner_id = EXCLUDED.runner_id, experiment_id = EXCLUDED.experiment_id)"
    query claimed "WITH mine AS (
        UPDATE trial SET runner_id = $RUNNER_ID, start_time = CURRENT_TIMESTAMP
        WHERE NOT $drains AND id = (SELECT id FROM trial WHERE experiment_id = $EXPERIMENT_ID
                      AND runner_id IN ($RUNNER_ID, -1)
                    ORDER BY runner_id DESC, id LIMIT 1 FOR UPDATE SKIP LOCKED)
        RETURNING id) $note
        SELECT id FROM mine UNION ALL SELECT -1 WHERE $drains"
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

# Requeues an unfinished trial and deletes its partial measurements.
release_trial() {
    [[ -e claimed ]] || return 0
    query answer "WITH given AS (UPDATE trial SET runner_id = -1, start_time = NULL
                                 WHERE $MINE RETURNING id)
                  DELETE FROM measure_outcome WHERE trial_id IN (SELECT id FROM given)" || {
        say "failed to requeue the unfinished trial; the fleet will requeue it"
        return 1
    }
}

