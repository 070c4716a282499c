CREATE SEQUENCE powerlift_fleet_number;

-- A row a fleet: made before anything is started, kept when everything else of the fleet is purged.
CREATE TABLE powerlift_fleet (
    batch_id numeric(20) PRIMARY KEY,
    number bigint NOT NULL UNIQUE,
    name text,
    caller text NOT NULL,
    idempotency_key text,
    fingerprint text NOT NULL,
    experiment_id integer NOT NULL,
    n_instances integer NOT NULL,
    submitted_at timestamptz NOT NULL DEFAULT now(),
    started_at timestamptz,
    ended_at timestamptz,
    UNIQUE (caller, idempotency_key));
CREATE UNIQUE INDEX powerlift_fleet_name ON powerlift_fleet (name) WHERE ended_at IS NULL;
