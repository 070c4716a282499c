-- The lock of packages in a fleet's request, which its plan copies to the benchmark's database. Deleted with the
-- fleet's records.
CREATE TABLE powerlift_fleet_requirements (
    batch_id numeric(20) PRIMARY KEY REFERENCES powerlift_fleet ON DELETE CASCADE,
    requirements text NOT NULL);
