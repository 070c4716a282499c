-- As in the API: "owner" is the deployment, "submitted_by" the submitter.
ALTER TABLE powerlift_fleet RENAME COLUMN caller TO submitted_by;
