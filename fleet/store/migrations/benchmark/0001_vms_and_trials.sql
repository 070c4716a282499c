-- Builds before the first version created the same tables in older shapes: they get the present one.
-- Tables are altered in the order in which the app reads them, so that neither waits for the other.

CREATE TABLE IF NOT EXISTS powerlift_fleet_machine (
    batch_id numeric(20), began timestamptz, ordinal integer, experiment_id integer,
    runner_id integer, record jsonb NOT NULL, noted_at timestamptz NOT NULL,
    PRIMARY KEY (batch_id, began, ordinal));
ALTER TABLE powerlift_fleet_machine ALTER COLUMN batch_id TYPE numeric(20);

CREATE TABLE IF NOT EXISTS powerlift_fleet_runner (
    experiment_id integer, runner_id integer, vm_name text, vm_size text,
    location text, zone text, priority text, image text, image_version text,
    cpu_model text, cpus integer, memory_bytes bigint, kernel text,
    started_at timestamptz NOT NULL DEFAULT now(), ended_at timestamptz,
    outcome text, exit_code integer,
    PRIMARY KEY (experiment_id, runner_id));
-- The default comes second: VMs recorded before there were heartbeats must not count as seen.
ALTER TABLE powerlift_fleet_runner
    ADD COLUMN IF NOT EXISTS log text, ADD COLUMN IF NOT EXISTS seen_at timestamptz;
ALTER TABLE powerlift_fleet_runner ALTER COLUMN seen_at SET DEFAULT now();

CREATE TABLE IF NOT EXISTS powerlift_fleet_trial (
    trial_id integer PRIMARY KEY, experiment_id integer, runner_id integer);

CREATE TABLE IF NOT EXISTS powerlift_fleet_loss (
    trial_id integer, runner_id integer, reason text, lost_at timestamptz DEFAULT now(),
    PRIMARY KEY (trial_id, runner_id));
