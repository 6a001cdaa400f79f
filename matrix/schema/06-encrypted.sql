-- v6: The rooms that have ever been seen encrypted, also those that were left

CREATE TABLE matrixfs_encrypted (
	room_id TEXT PRIMARY KEY
);

INSERT INTO matrixfs_encrypted SELECT room_id FROM matrixfs_room WHERE encrypted;
