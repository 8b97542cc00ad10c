-- name: get
-- Primary key; an expired record is absent.
SELECT tenant, kind, id, version, data, created_at, expires_at, blobs FROM records
WHERE tenant = ?1 AND kind = ?2 AND id = ?3 AND (expires_at IS NULL OR expires_at > ?4);

-- name: put
INSERT OR REPLACE INTO records (tenant, kind, id, version, data, created_at, expires_at, blobs)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8);

-- name: delete
DELETE FROM records WHERE tenant = ?1 AND kind = ?2 AND id = ?3 RETURNING expires_at;

-- name: expire
-- records_expiring
DELETE FROM records WHERE (tenant, kind, id) IN (
  SELECT tenant, kind, id FROM records WHERE expires_at IS NOT NULL AND expires_at <= ?1 ORDER BY expires_at LIMIT ?2)
RETURNING tenant, kind, id;

-- name: list_up
-- Primary key.
SELECT tenant, kind, id, version, data, created_at, expires_at, blobs FROM records
WHERE tenant = ?1 AND kind = ?2 AND id > ?3 AND (expires_at IS NULL OR expires_at > ?4)
  AND NOT EXISTS (SELECT 1 FROM json_each(?5) m WHERE (data ->> ('$.' || json_quote(m.key))) IS NOT m.value)
ORDER BY id LIMIT ?6;

-- name: list_down
-- Primary key.
SELECT tenant, kind, id, version, data, created_at, expires_at, blobs FROM records
WHERE tenant = ?1 AND kind = ?2 AND (?3 = '' OR id < ?3) AND (expires_at IS NULL OR expires_at > ?4)
  AND NOT EXISTS (SELECT 1 FROM json_each(?5) m WHERE (data ->> ('$.' || json_quote(m.key))) IS NOT m.value)
ORDER BY id DESC LIMIT ?6;

-- name: list_all_up
-- records_by_id
SELECT tenant, kind, id, version, data, created_at, expires_at, blobs FROM records
WHERE ?1 IS NULL AND kind = ?2 AND id > ?3 AND (expires_at IS NULL OR expires_at > ?4)
  AND NOT EXISTS (SELECT 1 FROM json_each(?5) m WHERE (data ->> ('$.' || json_quote(m.key))) IS NOT m.value)
ORDER BY id LIMIT ?6;

-- name: list_all_down
-- records_by_id
SELECT tenant, kind, id, version, data, created_at, expires_at, blobs FROM records
WHERE ?1 IS NULL AND kind = ?2 AND (?3 = '' OR id < ?3) AND (expires_at IS NULL OR expires_at > ?4)
  AND NOT EXISTS (SELECT 1 FROM json_each(?5) m WHERE (data ->> ('$.' || json_quote(m.key))) IS NOT m.value)
ORDER BY id DESC LIMIT ?6;
