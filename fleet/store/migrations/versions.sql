-- The app's own database may be the same one, with migrations of its own: hence `tables`.
CREATE TABLE IF NOT EXISTS powerlift_fleet_schema (
    tables text, version integer, applied_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tables, version));
