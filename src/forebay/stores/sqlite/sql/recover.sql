-- name: overlong_pauses
-- A scan of `later`, once after the clock was set back: pauses of the future are as long from now, and what was to wait
-- until a time of the user's waits until then.
DELETE FROM later WHERE entered_at > ?1
RETURNING job_id, max(?1 + due_at - entered_at,
  coalesce((SELECT j.fixed ->> '$.not_before' FROM jobs j WHERE j.id = job_id), 0));

-- name: cut_pauses
UPDATE jobs SET due_at = min(due_at, q.value->>1) FROM jsonb_each(?1) q WHERE jobs.id = q.value->>0;

-- name: late_leaves
-- jobs_deadline; a running one ends by its own answer, or when its worker is dead.
SELECT j.id FROM jobs j INDEXED BY jobs_deadline
WHERE j.deadline <= ?1 AND j.status IN ('queued', 'waiting') AND j.ending IS NULL AND j.is_group = 0
  AND NOT EXISTS (SELECT 1 FROM leases l WHERE l.job_id = j.id)
ORDER BY j.deadline LIMIT ?2;

-- name: late_groups
-- jobs_deadline
SELECT j.id, j.status = 'queued' AND NOT EXISTS (SELECT 1 FROM leases l WHERE l.job_id = j.id)
FROM jobs j INDEXED BY jobs_deadline
WHERE j.deadline <= ?1 AND j.status IN ('queued', 'waiting') AND j.ending IS NULL AND j.is_group = 1
ORDER BY j.deadline LIMIT ?2;

-- name: timed_joins
-- jobs_until
SELECT id FROM jobs INDEXED BY jobs_until
WHERE status = 'waiting' AND join_until IS NOT NULL AND join_until <= ?1 ORDER BY join_until LIMIT ?2;

-- name: waiting
-- jobs_waiting
SELECT id FROM jobs INDEXED BY jobs_waiting WHERE status = 'waiting' AND id > ?1 ORDER BY id LIMIT ?2;

-- name: suspects
-- One step per queue through the primary key of ready.
WITH RECURSIVE queues (queue) AS (
  SELECT min(queue) FROM ready
  UNION ALL
  SELECT (SELECT min(r.queue) FROM ready r WHERE r.queue > q.queue) FROM queues q WHERE q.queue IS NOT NULL
)
SELECT queue FROM queues q
WHERE queue IS NOT NULL AND EXISTS (SELECT 1 FROM ready r WHERE r.queue = q.queue AND r.is_suspect = 1);
