-- SHA-256 of the VM's startup script, without the values of the VM.
ALTER TABLE powerlift_fleet_runner ADD COLUMN IF NOT EXISTS script_digest text;
