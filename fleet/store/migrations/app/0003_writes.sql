-- What the fleets of a principal in a subscription have written to Azure: see fleet/model/shared_budget.py.
CREATE TABLE powerlift_fleet_writes (
    subscription_id text NOT NULL,
    principal text NOT NULL,
    budget jsonb,
    PRIMARY KEY (subscription_id, principal))
    WITH (fillfactor = 50);
