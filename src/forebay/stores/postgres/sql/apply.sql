-- name: states
-- What the decision needs of each [fence, job_id] that is still leased so: primary keys, one probe for each. Both rows
-- are held until the commit, in the order of ids; whoever takes a lease away holds them too. A begin that is still under
-- way, though its caller has given up, is waited for: its attempts are seen, and completed, from here on.
SELECT q.place - 1, l.claimed_at, j.ending, j.is_group, j.notices,
       EXISTS (SELECT 1 FROM results r WHERE r.job_id = q.job_id OFFSET 0)
FROM (
  SELECT * FROM unnest($1::bigint[], $2::text[]) WITH ORDINALITY AS a (fence, job_id, place)
  ORDER BY job_id COLLATE "C") AS q
CROSS JOIN LATERAL (
  SELECT ending, is_group, notices FROM jobs WHERE id = q.job_id LIMIT 1 FOR NO KEY UPDATE) AS j
CROSS JOIN LATERAL (
  SELECT claimed_at FROM leases WHERE fence = q.fence AND job_id = q.job_id LIMIT 1 FOR UPDATE) AS l;

-- name: complete
-- Completes attempts over `running` or `unknown`, lease or no lease; primary key of attempts.
UPDATE attempts SET outcome = q.outcome, finished_at = q.finished_at, status_code = q.status_code, error = q.error,
  retry_at = q.retry_at, usage = q.usage, cost_usd = q.cost_usd, model = coalesce(q.model, attempts.model)
FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::text[], $5::float8[], $6::bigint[], $7::text[], $8::float8[],
            $9::text[], $10::float8[], $11::text[])
  AS q (job_id, number, fence, outcome, finished_at, status_code, error, retry_at, usage, cost_usd, model)
WHERE attempts.job_id = q.job_id AND attempts.number = q.number AND attempts.fence = q.fence
  AND attempts.outcome IN ('running', 'unknown');

-- name: update
UPDATE jobs SET
  status = q.status,
  due_at = coalesce(q.due_at, jobs.due_at),
  finished_at = q.finished_at,
  started_at = coalesce(jobs.started_at, q.started_at),
  attempts_used = jobs.attempts_used + q.attempts_used,
  progress = coalesce(q.progress, jobs.progress),
  error_code = CASE WHEN q.has_error THEN q.error_code ELSE jobs.error_code END,
  error_message = CASE WHEN q.has_error THEN q.error_message ELSE jobs.error_message END,
  input_tokens = coalesce(jobs.input_tokens + q.input_tokens, q.input_tokens, jobs.input_tokens),
  cached_tokens = coalesce(jobs.cached_tokens + q.cached_tokens, q.cached_tokens, jobs.cached_tokens),
  output_tokens = coalesce(jobs.output_tokens + q.output_tokens, q.output_tokens, jobs.output_tokens),
  reasoning_tokens = coalesce(jobs.reasoning_tokens + q.reasoning_tokens, q.reasoning_tokens, jobs.reasoning_tokens),
  cost_usd = coalesce(jobs.cost_usd + q.cost_usd, q.cost_usd, jobs.cost_usd)
FROM unnest($1::text[], $2::text[], $3::float8[], $4::float8[], $5::float8[], $6::bigint[], $7::text[], $8::boolean[],
            $9::text[], $10::text[], $11::bigint[], $12::bigint[], $13::bigint[], $14::bigint[], $15::float8[])
  AS q (id, status, due_at, finished_at, started_at, attempts_used, progress, has_error, error_code, error_message,
        input_tokens, cached_tokens, output_tokens, reasoning_tokens, cost_usd)
WHERE jobs.id = q.id;

-- name: set_join
-- Whoever waits for children is a group from now on; with an ending it waits for all. It has made a step, and killed
-- nobody: rescues of groups count in a row.
UPDATE jobs SET is_group = true, rescues = 0, lone_rescues = 0,
  join_successes = CASE WHEN ending IS NULL THEN $2::bigint END,
  join_live = CASE WHEN ending IS NULL THEN $3::bigint ELSE 0 END,
  join_until = CASE WHEN ending IS NULL THEN $4::float8 END
WHERE id = $1;

-- name: end_leases
DELETE FROM leases WHERE fence = ANY($1::bigint[]);

-- name: drop_results
DELETE FROM results WHERE job_id = ANY($1::text[]);

-- name: drop_result_refs
DELETE FROM blob_refs WHERE role = 'result' AND owner = ANY($1::text[]);

-- name: insert_results
INSERT INTO results (job_id, status_code, text, blob_id, bytes, request_id)
SELECT * FROM unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::bigint[], $6::text[])
ON CONFLICT (job_id) DO UPDATE SET status_code = excluded.status_code, text = excluded.text,
  blob_id = excluded.blob_id, bytes = excluded.bytes, request_id = excluded.request_id;

-- name: takeable
-- Terminal children not taken over yet: primary key. Held until the commit: `retry` may want one back.
SELECT j.id, j.status, j.is_group, j.input_tokens, j.cached_tokens, j.output_tokens, j.reasoning_tokens, j.cost_usd
FROM jobs j
WHERE j.id = ANY($1::text[]) AND j.parent_id = $2 AND NOT j.is_collected
  AND j.status IN ('succeeded', 'failed', 'cancelled')
ORDER BY j.id FOR NO KEY UPDATE;

-- name: collect
UPDATE jobs SET is_collected = true WHERE id = ANY($1::text[]);

-- name: take_over
-- Adds (or, negative, takes back) counts and sums of children.
UPDATE jobs SET
  taken_succeeded = taken_succeeded + $2, taken_failed = taken_failed + $3, taken_cancelled = taken_cancelled + $4,
  input_tokens = coalesce(input_tokens + $5::bigint, $5::bigint, input_tokens),
  cached_tokens = coalesce(cached_tokens + $6::bigint, $6::bigint, cached_tokens),
  output_tokens = coalesce(output_tokens + $7::bigint, $7::bigint, output_tokens),
  reasoning_tokens = coalesce(reasoning_tokens + $8::bigint, $8::bigint, reasoning_tokens),
  cost_usd = coalesce(cost_usd + $9::float8, $9::float8, cost_usd)
WHERE id = $1;

-- name: next_numbers
SELECT name, max(number) + 1 FROM segments WHERE job_id = $1 GROUP BY name;

-- name: insert_segments
INSERT INTO segments (job_id, name, number, blob_id, lines, bytes)
SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::bigint[], $6::bigint[]);
