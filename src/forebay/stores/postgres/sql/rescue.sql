-- name: lost
-- Leases of ended epochs, and of workers that nobody knows: a scan of leases. They and their jobs' rows are held; what
-- someone else holds (an answer that comes just now) is passed over.
SELECT l.fence FROM leases l JOIN jobs j ON j.id = l.job_id LEFT JOIN workers w ON w.id = l.worker_id
WHERE w.id IS NULL OR w.epoch <> l.epoch OR w.is_dead
ORDER BY l.fence LIMIT $1 FOR UPDATE OF j, l SKIP LOCKED;

-- name: hold
-- The same for leases by fence, waiting.
SELECT l.fence FROM leases l JOIN jobs j ON j.id = l.job_id WHERE l.fence = ANY($1::bigint[])
ORDER BY j.id FOR UPDATE OF j, l;

-- name: hold_claimed
-- The same for leases of a claim: [fence, job, worker].
SELECT l.fence FROM unnest($1::bigint[], $2::text[], $3::text[]) AS q (fence, job_id, worker_id)
JOIN leases l ON l.fence = q.fence AND l.job_id = q.job_id AND l.worker_id = q.worker_id JOIN jobs j ON j.id = l.job_id
ORDER BY j.id FOR UPDATE OF j, l;

-- name: look
SELECT l.fence, l.job_id, l.is_alone, l.claimed_at, j.ending, j.is_group, j.rescues, j.lone_rescues, j.fixed,
       EXISTS (SELECT 1 FROM attempts a WHERE a.job_id = l.job_id AND a.fence = l.fence),
       EXISTS (SELECT 1 FROM attempts a WHERE a.job_id = l.job_id AND a.fence = l.fence AND a.outcome = 'running')
FROM (SELECT fence FROM unnest($1::bigint[]) AS a (fence) ORDER BY fence) AS q
CROSS JOIN LATERAL (SELECT * FROM leases WHERE fence = q.fence LIMIT 1) AS l
JOIN jobs j ON j.id = l.job_id ORDER BY q.fence;

-- name: doubt
UPDATE attempts SET outcome = 'unknown' FROM unnest($1::text[], $2::bigint[]) AS q (job_id, fence)
WHERE attempts.job_id = q.job_id AND attempts.fence = q.fence AND attempts.outcome = 'running';

-- name: count
-- [job, claimed_at, rescues, lone rescues] of the freed.
UPDATE jobs SET started_at = coalesce(jobs.started_at, q.claimed_at), rescues = q.rescues,
  lone_rescues = q.lone_rescues, due_at = $5
FROM unnest($1::text[], $2::float8[], $3::bigint[], $4::bigint[]) AS q (id, claimed_at, rescues, lone_rescues)
WHERE jobs.id = q.id;
