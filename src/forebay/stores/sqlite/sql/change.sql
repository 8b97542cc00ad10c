-- name: look
-- What cancel, retry and erase need of the named jobs of a tenant: primary keys.
SELECT j.id, j.status, j.ending, j.is_group, l.fence IS NOT NULL, j.parent_id, j.is_collected, p.status, p.ending,
       j.fixed, p.deadline, j.input_tokens, j.cached_tokens, j.output_tokens, j.reasoning_tokens, j.cost_usd
FROM jsonb_each(?1) q JOIN jobs j ON j.id = q.value
LEFT JOIN leases l ON l.job_id = j.id
LEFT JOIN jobs p ON p.id = j.parent_id AND j.parent_id <> ''
WHERE j.tenant = ?2;

-- name: ahead
-- Those of the named jobs of a tenant that wait for a time: primary keys.
SELECT j.id FROM jsonb_each(?1) q JOIN jobs j ON j.id = q.value JOIN later l ON l.due_at = j.due_at AND l.job_id = j.id
WHERE j.tenant = ?2 AND j.due_at > ?3 AND j.status = 'queued';

-- name: dead_children
-- jobs_children
SELECT j.id, j.is_group, j.fixed, j.is_collected, j.status, j.input_tokens, j.cached_tokens, j.output_tokens,
       j.reasoning_tokens, j.cost_usd
FROM jobs j
WHERE j.parent_id = ?1 AND j.parent_id <> '' AND j.is_collected IN (0, 1) AND j.status IN ('failed', 'cancelled');

-- name: revive
-- [id, deadline]: fresh attempts. A group keeps its progress.
UPDATE jobs SET status = 'queued', ending = NULL, due_at = ?2, deadline = q.value->>1, finished_at = NULL,
  started_at = NULL, error_code = NULL, error_message = NULL, attempts_used = 0, rescues = 0, lone_rescues = 0,
  is_collected = 0, progress = CASE WHEN is_group THEN progress END
FROM jsonb_each(?1) q WHERE jobs.id = q.value->>0;

-- name: rename_notices
-- A revived job ends once more and tells of it: the keys of what told of its first end make room (jobs_key).
UPDATE jobs SET key = key || ':' || id
WHERE tenant = ?1 AND parent_id = '' AND key <> '' AND key >= ?2 AND key < ?3;

-- name: drop_content_refs
DELETE FROM blob_refs WHERE owner IN (SELECT value FROM jsonb_each(?1)) AND role <> 'segment:ledger';

-- name: drop_segments
DELETE FROM segments WHERE job_id IN (SELECT value FROM jsonb_each(?1)) AND name <> 'ledger';

-- name: drop_words
-- What a target said as it refused may quote the prompt; the code stays.
UPDATE jobs SET error_message = '' WHERE id IN (SELECT value FROM jsonb_each(?1)) AND error_message <> '';

-- name: plans
-- What the jobs of runs were told to do: primary keys.
SELECT id, fixed FROM jobs
WHERE id IN (SELECT value FROM jsonb_each(?1)) AND kind IN (SELECT value FROM jsonb_each(?2));

-- name: drop_plan
-- Primary key. A run's cursor has what its steps made.
UPDATE jobs SET fixed = ?2, progress = NULL WHERE id = ?1;

-- name: drop_reasons
UPDATE attempts SET error = NULL WHERE job_id IN (SELECT value FROM jsonb_each(?1)) AND error IS NOT NULL;

-- name: rewrite_segment
-- Primary key; only in the place of the blob that was read.
UPDATE segments SET blob_id = ?5 WHERE job_id = ?1 AND name = ?2 AND number = ?3 AND blob_id = ?4 RETURNING number;

-- name: rewrite_ref
UPDATE blob_refs SET blob_id = ?4 WHERE owner = ?1 AND role = ?2 AND blob_id = ?3;

-- name: append
-- Fenced by the lease; primary key of chunks. What stands there already came of an append whose reply was lost.
INSERT INTO chunks (job_id, number, text)
SELECT ?2, coalesce(?3, (SELECT max(c.number) + 1 FROM chunks c WHERE c.job_id = ?2), 0) + q.key, q.value
FROM jsonb_each(?1) q WHERE true
ON CONFLICT (job_id, number) DO NOTHING;

-- name: has_lease
SELECT EXISTS (SELECT 1 FROM leases WHERE fence = ?1 AND job_id = ?2);
