-- What a VM installed, and since when it resolves the packages of its fleet.
ALTER TABLE powerlift_fleet_runner
    ADD COLUMN architecture text, ADD COLUMN python text, ADD COLUMN lock_digest text,
    ADD COLUMN resolving_at timestamptz;

-- What the processes of a trial used: seconds, and the bytes of the largest one.
ALTER TABLE powerlift_fleet_trial
    ADD COLUMN wall_seconds double precision, ADD COLUMN user_seconds double precision,
    ADD COLUMN system_seconds double precision, ADD COLUMN steal_seconds double precision,
    ADD COLUMN max_rss_bytes bigint, ADD COLUMN measured_at timestamptz;

-- The packages of a fleet's VMs. Code on any VM may insert rows, hence the key: only the fleet's own VMs know it
-- before the row exists. "digest": SHA-256 of the requirements. "runner_id" is null for a lock of the request.
CREATE TABLE powerlift_fleet_lock (
    key text PRIMARY KEY, digest text NOT NULL, requirements text NOT NULL,
    architecture text, python text, runner_id integer,
    resolved_at timestamptz NOT NULL DEFAULT now());
