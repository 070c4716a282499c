# Notes in the database what this VM is, for its results are those of its hardware. The app creates the
# tables before the first VM; where it may not, this fails and the VM goes on without.
record_start() {
    if query answer "DELETE FROM powerlift_fleet_runner
        WHERE experiment_id = $EXPERIMENT_ID AND runner_id = $RUNNER_ID;
        INSERT INTO powerlift_fleet_runner (
            experiment_id, runner_id, vm_name, vm_size, location, zone, priority, image,
            image_version, cpu_model, cpus, memory_bytes, kernel)
        SELECT $EXPERIMENT_ID, $RUNNER_ID, $(sql_text "$VM_NAME"), facts.*
        FROM json_to_record($(sql_text "$(guest describe)")::json) AS facts (
            vm_size text, location text, zone text, priority text, image text,
            image_version text, cpu_model text, cpus integer, memory_bytes bigint, kernel text)"; then
        recorded=true
    else
        say "the database does not let this VM record itself; going on without"
    fi
}

