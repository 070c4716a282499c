-- With trial_order `paired`, a claim looks for the trials of one task and replicate. In Powerlift's table: only its owner
-- may create the index. Without it, claims read every ready trial.
DO $$ BEGIN
    CREATE INDEX IF NOT EXISTS powerlift_fleet_group ON trial (experiment_id, task_id, replicate_num);
EXCEPTION WHEN insufficient_privilege OR undefined_table OR lock_not_available OR query_canceled THEN
    NULL;
END $$;
