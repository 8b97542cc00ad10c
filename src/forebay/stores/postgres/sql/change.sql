-- name: lock
-- Holds rows as they are until the commit, in the order of ids; what is asked after it sees them as they are.
SELECT id FROM jobs WHERE id = ANY($1::text[]) ORDER BY id FOR NO KEY UPDATE;

-- name: lock_idle
-- The same, passing over rows that someone else holds: who sweeps never waits.
SELECT id FROM jobs WHERE id = ANY($1::text[]) ORDER BY id FOR NO KEY UPDATE SKIP LOCKED;

-- name: look
-- What cancel, retry and erase need of the named jobs of a tenant: primary keys.
SELECT j.id, j.status, j.ending, j.is_group, l.fence IS NOT NULL, j.parent_id, j.is_collected, p.status, p.ending,
       j.fixed, p.deadline, j.input_tokens, j.cached_tokens, j.output_tokens, j.reasoning_tokens, j.cost_usd
FROM jobs j
LEFT JOIN LATERAL (SELECT fence FROM leases WHERE job_id = j.id LIMIT 1) AS l ON true
LEFT JOIN jobs p ON p.id = j.parent_id AND j.parent_id <> ''
WHERE j.id = ANY($1::text[]) AND j.tenant = $2;

-- name: ahead
-- Those of the named jobs of a tenant that wait for a time: primary keys.
SELECT j.id FROM jobs j JOIN later l ON l.due_at = j.due_at AND l.job_id = j.id
WHERE j.id = ANY($1::text[]) AND j.tenant = $2 AND j.due_at > $3 AND j.status = 'queued';

-- name: dead_children
-- jobs_children
SELECT j.id, j.is_group, j.fixed, j.is_collected, j.status, j.input_tokens, j.cached_tokens, j.output_tokens,
       j.reasoning_tokens, j.cost_usd
FROM jobs j
WHERE j.parent_id = $1 AND j.parent_id <> '' AND j.status IN ('failed', 'cancelled')
ORDER BY j.id FOR NO KEY UPDATE;

-- name: revive
-- [id, deadline]: fresh attempts. A group keeps its progress.
UPDATE jobs SET status = 'queued', ending = NULL, due_at = $3, deadline = q.deadline, finished_at = NULL,
  started_at = NULL, error_code = NULL, error_message = NULL, attempts_used = 0, rescues = 0, lone_rescues = 0,
  is_collected = false, progress = CASE WHEN jobs.is_group THEN jobs.progress END
FROM unnest($1::text[], $2::float8[]) AS q (id, deadline) WHERE jobs.id = q.id;

-- name: rename_notices
-- A revived job ends once more and tells of it: the keys of what told of its first end make room (jobs_key).
UPDATE jobs SET key = key || ':' || id
WHERE tenant = $1 AND parent_id = '' AND key <> '' AND key >= $2 AND key < $3;

-- name: drop_content_refs
DELETE FROM blob_refs WHERE owner = ANY($1::text[]) AND role <> 'segment:ledger';

-- name: drop_segments
DELETE FROM segments WHERE job_id = ANY($1::text[]) AND name <> 'ledger';

-- name: drop_words
-- What a target said as it refused may quote the prompt; the code stays.
UPDATE jobs SET error_message = '' WHERE id = ANY($1::text[]) AND error_message <> '';

-- name: plans
-- What the jobs of runs were told to do: primary keys.
SELECT id, fixed FROM jobs WHERE id = ANY($1::text[]) AND kind = ANY($2::text[]);

-- name: drop_plan
-- Primary key. A run's cursor has what its steps made.
UPDATE jobs SET fixed = $2, progress = NULL WHERE id = $1;

-- name: drop_reasons
UPDATE attempts SET error = NULL WHERE job_id = ANY($1::text[]) AND error IS NOT NULL;

-- name: rewrite_segment
-- Primary key; only in the place of the blob that was read.
UPDATE segments SET blob_id = $5 WHERE job_id = $1 AND name = $2 AND number = $3 AND blob_id = $4 RETURNING number;

-- name: rewrite_ref
UPDATE blob_refs SET blob_id = $4 WHERE owner = $1 AND role = $2 AND blob_id = $3;

-- name: append
-- Fenced by the lease; primary key of chunks. What stands there already came of an append whose reply was lost.
INSERT INTO chunks (job_id, number, text)
SELECT $2::text,
  coalesce($3::bigint, (SELECT max(c.number) + 1 FROM chunks c WHERE c.job_id = $2::text), 0) + q.place - 1, q.text
FROM unnest($1::text[]) WITH ORDINALITY AS q (text, place)
ON CONFLICT (job_id, number) DO NOTHING;

-- name: has_lease
SELECT fence FROM leases WHERE fence = $1 AND job_id = $2 FOR KEY SHARE;
