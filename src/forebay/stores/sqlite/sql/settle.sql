-- name: joins
-- Waiting ones of the named: their join, what was taken, and whether any child is live (jobs_children).
SELECT j.id, j.join_successes, j.join_live, j.join_until, j.taken_succeeded,
       EXISTS (SELECT 1 FROM jobs c WHERE c.parent_id = j.id AND c.parent_id <> '' AND c.is_collected = 0
               AND c.status IN ('queued', 'waiting'))
FROM jsonb_each(?1) q JOIN jobs j ON j.id = q.value
WHERE j.status = 'waiting';

-- name: count_live
-- jobs_children; no further than the join asks.
SELECT count(*) FROM (
  SELECT 1 FROM jobs WHERE parent_id = ?1 AND parent_id <> '' AND is_collected = 0 AND status IN ('queued', 'waiting')
  LIMIT ?2);

-- name: count_succeeded
-- jobs_children; no further than the join asks.
SELECT count(*) FROM (
  SELECT 1 FROM jobs WHERE parent_id = ?1 AND parent_id <> '' AND is_collected = 0 AND status = 'succeeded' LIMIT ?2);

-- name: wake
UPDATE jobs SET status = 'queued', due_at = ?2 WHERE status = 'waiting' AND id IN (SELECT value FROM jsonb_each(?1))
RETURNING id;
