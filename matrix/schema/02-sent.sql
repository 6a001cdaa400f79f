-- v2: The events of ours that are to be redacted once their transfer is over

CREATE TABLE matrixfs_sent (
	event_id    TEXT PRIMARY KEY,
	room_id     TEXT NOT NULL,
	transfer_id TEXT NOT NULL
);
