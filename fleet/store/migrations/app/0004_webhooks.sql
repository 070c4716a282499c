-- Why a fleet failed: {"code", "message", "advice"}.
ALTER TABLE powerlift_fleet ADD COLUMN reason jsonb;

-- The notifications that a fleet's webhook has still to receive. Deleted once the last was sent.
CREATE TABLE powerlift_fleet_webhook (
    batch_id numeric(20) PRIMARY KEY REFERENCES powerlift_fleet ON DELETE CASCADE,
    sealed text NOT NULL,
    failure_sent_at timestamptz,
    -- Of the experiment's trials that failed before, as in powerlift_fleet.trials.
    errors_before jsonb,
    event text,
    tries integer NOT NULL DEFAULT 0,
    next_try_at timestamptz NOT NULL DEFAULT now());
CREATE INDEX powerlift_fleet_webhook_next ON powerlift_fleet_webhook (next_try_at);
