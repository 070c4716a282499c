-- For the retry of a fleet and another one like it. "request": its request as JSON, without secrets.
-- "request_signature": an HMAC with the sealing key, because the VMs' role may write the table.
-- "database_digest": an HMAC of the benchmark's server and database.
ALTER TABLE powerlift_fleet
    ADD COLUMN request text, ADD COLUMN request_signature text, ADD COLUMN database_digest text;
