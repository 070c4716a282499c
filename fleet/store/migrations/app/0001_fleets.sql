CREATE SEQUENCE powerlift_fleet_number;

-- A row per fleet: inserted before anything is started, kept when all else of the fleet is purged.
CREATE TABLE powerlift_fleet (
    batch_id numeric(20) PRIMARY KEY,
    number bigint NOT NULL UNIQUE,
    name text,
    owner text NOT NULL,
    caller text NOT NULL,
    idempotency_key text,
    fingerprint text NOT NULL,
    experiment_id integer NOT NULL,
    experiment_name text,
    n_instances integer NOT NULL,
    account text NOT NULL,
    resource_uris text[] NOT NULL DEFAULT '{}',
    submitted_at timestamptz NOT NULL DEFAULT now(),
    started_at timestamptz,
    deadline timestamptz NOT NULL,
    ended_at timestamptz,
    purged_at timestamptz,
    phase text NOT NULL DEFAULT 'plan',
    machines jsonb,
    trials jsonb,
    cost double precision,
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (caller, idempotency_key));
CREATE UNIQUE INDEX powerlift_fleet_active_name ON powerlift_fleet (name) WHERE ended_at IS NULL;
CREATE INDEX powerlift_fleet_name ON powerlift_fleet (name text_pattern_ops);
CREATE INDEX powerlift_fleet_submitted ON powerlift_fleet (submitted_at, batch_id);
CREATE INDEX powerlift_fleet_active ON powerlift_fleet (submitted_at) WHERE ended_at IS NULL;
CREATE INDEX powerlift_fleet_to_purge ON powerlift_fleet (ended_at) WHERE purged_at IS NULL;
CREATE INDEX powerlift_fleet_account ON powerlift_fleet (account, submitted_at) WHERE purged_at IS NULL;
