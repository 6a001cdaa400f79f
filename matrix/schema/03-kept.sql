-- v3: Messages of transfers that may still be alive, for the next start

CREATE TABLE matrixfs_kept (
	event_id    TEXT PRIMARY KEY,
	room_id     TEXT    NOT NULL,
	transfer_id TEXT    NOT NULL,
	user_id     TEXT    NOT NULL,
	device_id   TEXT    NOT NULL,
	trust       INTEGER NOT NULL,
	type        TEXT    NOT NULL,
	content     TEXT    NOT NULL,
	born        BIGINT  NOT NULL -- when it was sent, in milliseconds
);
