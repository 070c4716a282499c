# Assigns the next trial to this runner, as Powerlift's Store.pick_trial would; the script will pick
# the same one. Powerlift does not record who ended a trial, so this is how a turn proves progress.
claim_trial() {
    local note=
    [[ $recorded == false ]] || note=", noted AS (
        INSERT INTO powerlift_fleet_trial (trial_id, experiment_id, runner_id)
        SELECT id, $EXPERIMENT_ID, $RUNNER_ID FROM mine
        ON CONFLICT (trial_id) DO UPDATE SET runner_id = EXCLUDED.runner_id)"
    query claimed "WITH mine AS (
        UPDATE trial SET runner_id = $RUNNER_ID, start_time = CURRENT_TIMESTAMP
        WHERE id = (SELECT id FROM trial WHERE experiment_id = $EXPERIMENT_ID
                      AND runner_id IN ($RUNNER_ID, -1)
                    ORDER BY runner_id DESC, id LIMIT 1 FOR UPDATE SKIP LOCKED)
        RETURNING id) $note
        SELECT id FROM mine"
}

look_at_claim() {
    local trial
    trial=$(<claimed)
    query ended "SELECT count(*) FROM trial WHERE id = ${trial:--1} AND end_time IS NOT NULL"
}

# mark_trial STATUS: ends the trial that was running when the script did, in Powerlift's way (-2).
mark_trial() {
    query marked "UPDATE trial SET runner_id = -2, end_time = CURRENT_TIMESTAMP,
                    errmsg = $(sql_text "The runner $(death "$1") while it ran this trial.")
                  WHERE $MINE RETURNING id"
}

death() {
    case $1 in
        132) echo "was killed: an instruction that this CPU does not have (exit code 132, SIGILL)" ;;
        134) echo "aborted itself (exit code 134, SIGABRT)" ;;
        137) echo "was killed, most likely by the kernel for want of memory (exit code 137, SIGKILL)" ;;
        139) echo "crashed: segmentation fault (exit code 139, SIGSEGV)" ;;
        143) echo "was told to stop by something else (exit code 143, SIGTERM)" ;;
        *) echo "ended with exit code $1" ;;
    esac
}

# Returns an unfinished trial to the queue, without what it has measured: it will be measured anew.
give_back() {
    [[ -e claimed ]] || return 0
    query answer "WITH given AS (UPDATE trial SET runner_id = -1, start_time = NULL
                                 WHERE $MINE RETURNING id)
                  DELETE FROM measure_outcome WHERE trial_id IN (SELECT id FROM given)" || {
        say "an unfinished trial could not be given back; the fleet will do so"
        return 1
    }
}

