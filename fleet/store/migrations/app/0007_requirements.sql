-- The lock of packages in a fleet's request, until its plan copies it to the benchmark's database.
CREATE TABLE powerlift_fleet_requirements (
    batch_id numeric(20) PRIMARY KEY REFERENCES powerlift_fleet ON DELETE CASCADE,
    requirements text NOT NULL);
