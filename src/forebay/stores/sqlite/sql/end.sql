-- name: end_leaves
-- [id, status, code, message]: primary key. `ending` stands as it was asked.
UPDATE jobs SET status = q.value->>1, error_code = q.value->>2, error_message = q.value->>3, finished_at = ?2
FROM jsonb_each(?1) q
WHERE jobs.id = q.value->>0 AND jobs.status IN ('queued', 'waiting')
RETURNING id, parent_id, notices;

-- name: free
DELETE FROM leases WHERE job_id IN (SELECT value FROM jsonb_each(?1));

-- name: owners
SELECT j.id, j.status, j.fixed FROM jsonb_each(?1) q JOIN jobs j ON j.id = q.value;

-- name: live_children
-- jobs_children
SELECT j.id, j.is_group, j.status, l.fence IS NOT NULL
FROM jsonb_each(?1) q
JOIN jobs j ON j.parent_id = q.value AND j.parent_id <> '' AND j.is_collected = 0 AND j.status IN ('queued', 'waiting')
LEFT JOIN leases l ON l.job_id = j.id;

-- name: ask
-- Sets the ending of running leaves; the first one asked for stands.
UPDATE jobs SET ending = coalesce(ending, ?2) WHERE id IN (SELECT value FROM jsonb_each(?1));

-- name: ask_groups
-- A group's join becomes Join(); a queued one (not running) is due now.
UPDATE jobs SET ending = coalesce(ending, ?2), join_successes = NULL, join_until = NULL,
  join_live = CASE WHEN join_live IS NULL THEN NULL ELSE 0 END
WHERE id IN (SELECT value FROM jsonb_each(?1));

-- name: make_due
UPDATE jobs SET due_at = ?2 WHERE id IN (SELECT value FROM jsonb_each(?1));
