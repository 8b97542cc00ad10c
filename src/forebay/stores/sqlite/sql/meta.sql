-- name: get
SELECT value FROM meta WHERE name = ?1;

-- name: put
INSERT OR IGNORE INTO meta (name, value) VALUES (?1, ?2);

-- name: data_version
-- Changes with the commits of other connections alone.
PRAGMA data_version;
