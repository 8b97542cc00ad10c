-- name: below
-- All descendants: jobs_children.
WITH RECURSIVE tree (id) AS (
  SELECT j.id FROM jobs j WHERE j.parent_id = ANY($1::text[]) AND j.parent_id <> ''
  UNION ALL
  SELECT j.id FROM tree t JOIN jobs j ON j.parent_id = t.id AND j.parent_id <> ''
)
SELECT id FROM tree LIMIT $2;

-- name: jobs
DELETE FROM jobs WHERE id = ANY($1::text[]);

-- name: bodies
DELETE FROM bodies WHERE job_id = ANY($1::text[]);

-- name: results
DELETE FROM results WHERE job_id = ANY($1::text[]);

-- name: attempts
DELETE FROM attempts WHERE job_id = ANY($1::text[]);

-- name: chunks
DELETE FROM chunks WHERE job_id = ANY($1::text[]);

-- name: segments
DELETE FROM segments WHERE job_id = ANY($1::text[]);

-- name: refs
DELETE FROM blob_refs WHERE owner = ANY($1::text[]);
