-- The most that a VM used at once while it ran trials: see fleet/model/right_sizing.py.
ALTER TABLE powerlift_fleet_runner
    ADD COLUMN IF NOT EXISTS used_vcpus double precision, ADD COLUMN IF NOT EXISTS used_memory_bytes bigint;
