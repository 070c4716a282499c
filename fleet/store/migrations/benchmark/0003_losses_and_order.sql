-- The order in which the VM takes trials, and the memory that was available at its last heartbeat, in bytes.
ALTER TABLE powerlift_fleet_runner
    ADD COLUMN trial_order text, ADD COLUMN trial_seed bigint, ADD COLUMN memory_available bigint;
-- Why the trial itself took its VM down; null: the VM was lost for another reason.
ALTER TABLE powerlift_fleet_loss ADD COLUMN fault text;
