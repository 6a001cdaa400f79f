-- v5: What renews an access token

ALTER TABLE matrixfs_account ADD COLUMN refresh_token TEXT NOT NULL DEFAULT '';
ALTER TABLE matrixfs_account ADD COLUMN expires BIGINT NOT NULL DEFAULT 0; -- of access_token, in milliseconds; 0: not known
ALTER TABLE matrixfs_account ADD COLUMN oauth_client TEXT NOT NULL DEFAULT ''; -- empty: not an OAuth login
