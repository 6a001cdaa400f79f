-- v4: The users from whom this one wants nothing

CREATE TABLE matrixfs_ignored (
	user_id TEXT PRIMARY KEY
);
