-- name: lost
-- Leases of ended epochs, and of workers that nobody knows: a scan of leases.
SELECT l.fence FROM leases l LEFT JOIN workers w ON w.id = l.worker_id
WHERE w.id IS NULL OR w.epoch <> l.epoch OR w.is_dead = 1
ORDER BY l.fence LIMIT ?1;

-- name: look
SELECT l.fence, l.job_id, l.is_alone, l.claimed_at, j.ending, j.is_group, j.rescues, j.lone_rescues,
       coalesce(j.fixed ->> '$.spec.on_unknown', 'retry'),
       EXISTS (SELECT 1 FROM attempts a WHERE a.job_id = l.job_id AND a.fence = l.fence),
       EXISTS (SELECT 1 FROM attempts a WHERE a.job_id = l.job_id AND a.fence = l.fence AND a.outcome = 'running')
FROM jsonb_each(?1) q JOIN leases l ON l.fence = q.value JOIN jobs j ON j.id = l.job_id;

-- name: doubt
UPDATE attempts SET outcome = 'unknown'
WHERE outcome = 'running' AND (job_id, fence) IN (SELECT value->>0, value->>1 FROM jsonb_each(?1));

-- name: count
-- [job, claimed_at, rescues, lone rescues] of the freed.
UPDATE jobs SET started_at = coalesce(started_at, q.value->>1), rescues = q.value->>2, lone_rescues = q.value->>3,
  due_at = ?2
FROM jsonb_each(?1) q WHERE jobs.id = q.value->>0;
