-- name: get
-- Primary key; an expired record is absent.
SELECT tenant, kind, id, version, data, created_at, expires_at, blobs FROM records
WHERE tenant = $1 AND kind = $2 AND id = $3 AND (expires_at IS NULL OR expires_at > $4);

-- name: hold
-- The same, held until the commit.
SELECT version FROM records
WHERE tenant = $1 AND kind = $2 AND id = $3 AND (expires_at IS NULL OR expires_at > $4) FOR UPDATE;

-- name: put
-- Over the version that was read, $10 (0: absent, or expired); nothing is returned where it is another by now.
INSERT INTO records (tenant, kind, id, version, data, created_at, expires_at, blobs, labels)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
ON CONFLICT (tenant, kind, id) DO UPDATE SET version = excluded.version, data = excluded.data,
  created_at = excluded.created_at, expires_at = excluded.expires_at, blobs = excluded.blobs, labels = excluded.labels
WHERE CASE WHEN records.expires_at <= $11 THEN 0 ELSE records.version END = $10
RETURNING version;

-- name: delete
DELETE FROM records WHERE tenant = $1 AND kind = $2 AND id = $3 RETURNING expires_at;

-- name: expire
-- records_expiring
DELETE FROM records WHERE ctid = ANY(ARRAY(
  SELECT ctid FROM records WHERE expires_at IS NOT NULL AND expires_at <= $1 ORDER BY expires_at LIMIT $2
  FOR UPDATE SKIP LOCKED))
RETURNING tenant, kind, id;

-- name: list_up
-- Primary key.
SELECT tenant, kind, id, version, data, created_at, expires_at, blobs FROM records
WHERE tenant = $1 AND kind = $2 AND id > $3 AND (expires_at IS NULL OR expires_at > $4) AND labels @> $5::jsonb
ORDER BY id LIMIT $6;

-- name: list_down
-- Primary key.
SELECT tenant, kind, id, version, data, created_at, expires_at, blobs FROM records
WHERE tenant = $1 AND kind = $2 AND ($3 = '' OR id < $3) AND (expires_at IS NULL OR expires_at > $4)
  AND labels @> $5::jsonb
ORDER BY id DESC LIMIT $6;

-- name: list_all_up
-- records_by_id
SELECT tenant, kind, id, version, data, created_at, expires_at, blobs FROM records
WHERE $1::text IS NULL AND kind = $2 AND id > $3 AND (expires_at IS NULL OR expires_at > $4) AND labels @> $5::jsonb
ORDER BY id LIMIT $6;

-- name: list_all_down
-- records_by_id
SELECT tenant, kind, id, version, data, created_at, expires_at, blobs FROM records
WHERE $1::text IS NULL AND kind = $2 AND ($3 = '' OR id < $3) AND (expires_at IS NULL OR expires_at > $4)
  AND labels @> $5::jsonb
ORDER BY id DESC LIMIT $6;
