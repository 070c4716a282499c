# Records the VM's hardware, which affects its results. Fails if the app could not create the tables; the
# VM then continues unregistered.
register_vm() {
    if query answer "DELETE FROM powerlift_fleet_runner
        WHERE $IDS;
        INSERT INTO powerlift_fleet_runner (
            experiment_id, runner_id, vm_name, vm_size, location, zone, priority, image,
            image_version, cpu_model, cpus, memory_bytes, kernel)
        SELECT $EXPERIMENT_ID, $RUNNER_ID, $(sql_text "$VM_NAME"), facts.*
        FROM json_to_record($(sql_text "$(agent describe)")::json) AS facts (
            vm_size text, location text, zone text, priority text, image text,
            image_version text, cpu_model text, cpus integer, memory_bytes bigint, kernel text)"; then
        registered=true
        record_order
    else
        say "failed to register this VM in the database; continuing"
    fi
}

