-- name: late_leaves
-- jobs_deadline; a running one ends by its own answer, or when its worker is dead. What someone holds is passed over.
SELECT j.id FROM jobs j
WHERE j.deadline <= $1 AND j.status IN ('queued', 'waiting') AND j.ending IS NULL AND NOT j.is_group
  AND NOT EXISTS (SELECT 1 FROM leases l WHERE l.job_id = j.id OFFSET 0)
ORDER BY j.deadline LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED;

-- name: late_groups
-- jobs_deadline
SELECT j.id, j.status = 'queued' AND NOT EXISTS (SELECT 1 FROM leases l WHERE l.job_id = j.id OFFSET 0)
FROM jobs j
WHERE j.deadline <= $1 AND j.status IN ('queued', 'waiting') AND j.ending IS NULL AND j.is_group
ORDER BY j.deadline LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED;

-- name: timed_joins
-- jobs_until
SELECT id FROM jobs
WHERE status = 'waiting' AND join_until IS NOT NULL AND join_until <= $1 ORDER BY join_until LIMIT $2;

-- name: waiting
-- jobs_waiting
SELECT id FROM jobs WHERE status = 'waiting' AND id > $1 ORDER BY id LIMIT $2;

-- name: suspects
-- One step per queue through the primary key of ready.
WITH RECURSIVE queues (queue) AS (
  SELECT min(queue) FROM ready
  UNION ALL
  SELECT (SELECT min(r.queue) FROM ready r WHERE r.queue > q.queue) FROM queues q WHERE q.queue IS NOT NULL
)
SELECT queue FROM queues q
WHERE queue IS NOT NULL AND EXISTS (SELECT 1 FROM ready r WHERE r.queue = q.queue AND r.is_suspect);
