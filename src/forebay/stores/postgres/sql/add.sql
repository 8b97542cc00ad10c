-- name: insert_jobs_telling
-- Keys: the primary key and jobs_key decide what is new; in their order, so that two adds wait and never deadlock.
INSERT INTO jobs (id, tenant, parent_id, key, kind, queue, origin, is_group, urgency, cost, created_at, deadline,
                  due_at, rank, fixed, notices, progress, status, finished_at, error_code, error_message, target, model,
                  metadata)
SELECT * FROM unnest(
  $1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::boolean[], $9::bigint[],
  $10::float8[], $11::float8[], $12::float8[], $13::float8[], $14::float8[], $15::text[], $16::bigint[], $17::text[],
  $18::text[], $19::float8[], $20::text[], $21::text[], $22::text[], $23::text[], $24::jsonb[]
) AS q (id, tenant, parent_id, key)
ORDER BY tenant COLLATE "C", parent_id COLLATE "C", key COLLATE "C", id COLLATE "C"
ON CONFLICT DO NOTHING
RETURNING id;

-- name: existing
-- Which job stands for each asked [place, id, tenant, parent_id, key]; jobs_key for the keys.
SELECT q.place, r.id, r.state, r.fixed
FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[]) AS q (place, id, tenant, parent_id, key)
JOIN job_rows r ON r.id = coalesce(
  (SELECT j.id FROM jobs j WHERE j.id = q.id),
  (SELECT j.id FROM jobs j
   WHERE j.key <> '' AND j.tenant = q.tenant AND j.parent_id = q.parent_id AND j.key = q.key));

-- name: parents
-- Held as they are until the commit: a parent that ends now must see the child, or the child its parent's end.
SELECT j.id, j.status, j.ending, j.error_code, j.deadline FROM jobs j WHERE j.id = ANY($1::text[])
ORDER BY j.id FOR SHARE;

-- name: insert_bodies
INSERT INTO bodies (job_id, text, blob_id, bytes)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[]);

-- name: insert_refs
INSERT INTO blob_refs (owner, role, blob_id) SELECT * FROM unnest($1::text[], $2::text[], $3::text[])
ON CONFLICT DO NOTHING;
