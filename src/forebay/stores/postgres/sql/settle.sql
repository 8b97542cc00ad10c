-- name: joins
-- Waiting ones of the named: their join, what was taken, whether any child is live (jobs_children), and the row's
-- version.
SELECT j.id, j.join_successes, j.join_live, j.join_until, j.taken_succeeded,
       EXISTS (SELECT 1 FROM jobs c WHERE c.parent_id = j.id AND c.parent_id <> '' AND NOT c.is_collected
               AND c.status IN ('queued', 'waiting')),
       j.xmin::text
FROM jobs j WHERE j.id = ANY($1::text[]) AND j.status = 'waiting';

-- name: count_live
-- jobs_children; no further than the join asks.
SELECT count(*) FROM (
  SELECT 1 FROM jobs WHERE parent_id = $1 AND parent_id <> '' AND NOT is_collected AND status IN ('queued', 'waiting')
  LIMIT $2) AS counted;

-- name: count_succeeded
-- jobs_children; no further than the join asks.
SELECT count(*) FROM (
  SELECT 1 FROM jobs WHERE parent_id = $1 AND parent_id <> '' AND NOT is_collected AND status = 'succeeded' LIMIT $2
) AS counted;

-- name: wake
-- [id, version]: unless the row has changed since it was looked at; who changed it settles it.
UPDATE jobs SET status = 'queued', due_at = $3 FROM (
  SELECT j.id FROM unnest($1::text[], $2::text[]) AS q (id, version) JOIN jobs j ON j.id = q.id
  WHERE j.status = 'waiting' AND j.xmin::text = q.version ORDER BY j.id FOR NO KEY UPDATE OF j
) AS held WHERE jobs.id = held.id AND jobs.status = 'waiting'
RETURNING jobs.id;

-- name: wake_idle
-- The same within another verb's transaction, which holds children: it must not wait for their parents.
UPDATE jobs SET status = 'queued', due_at = $3 FROM (
  SELECT j.id FROM unnest($1::text[], $2::text[]) AS q (id, version) JOIN jobs j ON j.id = q.id
  WHERE j.status = 'waiting' AND j.xmin::text = q.version ORDER BY j.id FOR NO KEY UPDATE OF j SKIP LOCKED
) AS held WHERE jobs.id = held.id AND jobs.status = 'waiting'
RETURNING jobs.id;
