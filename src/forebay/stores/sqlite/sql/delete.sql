-- name: below
-- All descendants: jobs_children.
WITH RECURSIVE tree (id) AS (
  SELECT j.id FROM jsonb_each(?1) q JOIN jobs j ON j.parent_id = q.value AND j.parent_id <> ''
  UNION ALL
  SELECT j.id FROM tree t JOIN jobs j ON j.parent_id = t.id AND j.parent_id <> ''
)
SELECT id FROM tree LIMIT ?2;

-- name: jobs
DELETE FROM jobs WHERE id IN (SELECT value FROM jsonb_each(?1));

-- name: bodies
DELETE FROM bodies WHERE job_id IN (SELECT value FROM jsonb_each(?1));

-- name: results
DELETE FROM results WHERE job_id IN (SELECT value FROM jsonb_each(?1));

-- name: attempts
DELETE FROM attempts WHERE job_id IN (SELECT value FROM jsonb_each(?1));

-- name: chunks
DELETE FROM chunks WHERE job_id IN (SELECT value FROM jsonb_each(?1));

-- name: segments
DELETE FROM segments WHERE job_id IN (SELECT value FROM jsonb_each(?1));

-- name: refs
DELETE FROM blob_refs WHERE owner IN (SELECT value FROM jsonb_each(?1));
