-- v0 -> v1: The account, and what mautrix's own tables lack of the rooms

CREATE TABLE matrixfs_account (
	one          INTEGER PRIMARY KEY CHECK (one = 1),
	homeserver   TEXT NOT NULL,
	user_id      TEXT NOT NULL,
	device_id    TEXT NOT NULL,
	access_token TEXT NOT NULL,
	next_batch   TEXT NOT NULL DEFAULT ''
);

CREATE TABLE matrixfs_room (
	room_id   TEXT PRIMARY KEY,
	name      TEXT    NOT NULL,
	alias     TEXT    NOT NULL,
	encrypted BOOLEAN NOT NULL,
	replaced  BOOLEAN NOT NULL
);

CREATE TABLE matrixfs_direct (
	room_id TEXT PRIMARY KEY,
	user_id TEXT NOT NULL
);
