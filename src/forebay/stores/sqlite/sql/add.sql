-- name: insert_jobs
-- Keys: the primary key and jobs_key decide what is new.
INSERT INTO jobs (id, tenant, parent_id, key, kind, queue, origin, is_group, urgency, cost, created_at, deadline,
                  due_at, rank, fixed, notices, progress, status, finished_at, error_code, error_message)
VALUES ?*
ON CONFLICT DO NOTHING;

-- name: insert_jobs_telling
-- The same, telling which were new.
INSERT INTO jobs (id, tenant, parent_id, key, kind, queue, origin, is_group, urgency, cost, created_at, deadline,
                  due_at, rank, fixed, notices, progress, status, finished_at, error_code, error_message)
VALUES ?*
ON CONFLICT DO NOTHING
RETURNING id;

-- name: existing
-- Which job stands for each asked [id, tenant, parent_id, key]; jobs_key for the keys.
SELECT q.key, r.id, r.state, coalesce(r.fixed ->> '$.fingerprint', '')
FROM jsonb_each(?1) q
JOIN job_rows r ON r.id = coalesce(
  (SELECT j.id FROM jobs j WHERE j.id = q.value->>0),
  (SELECT j.id FROM jobs j
   WHERE j.key <> '' AND j.tenant = q.value->>1 AND j.parent_id = q.value->>2 AND j.key = q.value->>3));

-- name: parents
SELECT j.id, j.status, j.ending, j.error_code, j.deadline FROM jsonb_each(?1) q JOIN jobs j ON j.id = q.value;

-- name: insert_bodies
INSERT INTO bodies (job_id, text, blob_id, bytes) VALUES ?*;

-- name: insert_refs
INSERT OR IGNORE INTO blob_refs (owner, role, blob_id) SELECT value->>0, value->>1, value->>2 FROM jsonb_each(?1);
