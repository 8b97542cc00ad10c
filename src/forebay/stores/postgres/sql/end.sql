-- name: end_leaves
-- [id, status, code, message]: primary key. `ending` stands as it was asked.
UPDATE jobs SET status = q.status, error_code = q.code, error_message = q.message, finished_at = $5
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS q (id, status, code, message)
WHERE jobs.id = q.id AND jobs.status IN ('queued', 'waiting')
RETURNING jobs.id, jobs.parent_id, jobs.notices;

-- name: free
DELETE FROM leases WHERE job_id = ANY($1::text[]);

-- name: owners
SELECT j.id, j.status, j.fixed FROM jobs j WHERE j.id = ANY($1::text[]);

-- name: live_children
-- jobs_children; `change.lock` holds them before they are looked at.
SELECT j.id, j.is_group, j.status, l.fence IS NOT NULL
FROM jobs j LEFT JOIN LATERAL (SELECT fence FROM leases WHERE job_id = j.id LIMIT 1) AS l ON true
WHERE j.parent_id = ANY($1::text[]) AND j.parent_id <> '' AND NOT j.is_collected AND j.status IN ('queued', 'waiting');

-- name: lock_children
-- jobs_children, in the order of ids.
SELECT j.id FROM jobs j
WHERE j.parent_id = ANY($1::text[]) AND j.parent_id <> '' AND NOT j.is_collected AND j.status IN ('queued', 'waiting')
ORDER BY j.id FOR NO KEY UPDATE;

-- name: ask
-- Sets the ending of running leaves; the first one asked for stands.
UPDATE jobs SET ending = coalesce(ending, $2) WHERE id = ANY($1::text[]);

-- name: ask_groups
-- A group's join becomes Join(); a queued one (not running) is due now.
UPDATE jobs SET ending = coalesce(ending, $2), join_successes = NULL, join_until = NULL,
  join_live = CASE WHEN join_live IS NULL THEN NULL ELSE 0 END
WHERE id = ANY($1::text[]);

-- name: make_due
UPDATE jobs SET due_at = $2 WHERE id = ANY($1::text[]);
