-- name: complete
-- Completes attempts over `running` or `unknown`, lease or no lease; primary key of attempts.
UPDATE attempts SET outcome = q.column4, finished_at = q.column5, status_code = q.column6, error = q.column7,
  retry_at = q.column8, usage = q.column9, cost_usd = q.column10, model = coalesce(q.column11, model)
FROM (VALUES ?*) q
WHERE attempts.job_id = q.column1 AND attempts.number = q.column2 AND attempts.fence = q.column3
  AND attempts.outcome IN ('running', 'unknown');

-- name: states
-- What the decision needs of each [fence, job_id] that is still leased so: primary keys.
SELECT json_group_array(json_array(
  q.key, l.claimed_at, j.ending, j.is_group, j.notices, EXISTS (SELECT 1 FROM results r WHERE r.job_id = j.id)))
FROM jsonb_each(?1) q
JOIN leases l ON l.fence = q.value->>0 AND l.job_id = q.value->>1
JOIN jobs j ON j.id = l.job_id;

-- name: succeed
-- What `update` does, for most answers: [id, claimed_at, four sums, cost].
UPDATE jobs SET
  status = 'succeeded', finished_at = ?2, started_at = coalesce(started_at, q.value->>1),
  error_code = NULL, error_message = NULL,
  input_tokens = CASE WHEN input_tokens IS NULL THEN q.value->>2 ELSE input_tokens + coalesce(q.value->>2, 0) END,
  cached_tokens = CASE WHEN cached_tokens IS NULL THEN q.value->>3 ELSE cached_tokens + coalesce(q.value->>3, 0) END,
  output_tokens = CASE WHEN output_tokens IS NULL THEN q.value->>4 ELSE output_tokens + coalesce(q.value->>4, 0) END,
  reasoning_tokens =
    CASE WHEN reasoning_tokens IS NULL THEN q.value->>5 ELSE reasoning_tokens + coalesce(q.value->>5, 0) END,
  cost_usd = CASE WHEN cost_usd IS NULL THEN q.value->>6 ELSE cost_usd + coalesce(q.value->>6, 0) END
FROM jsonb_each(?1) q
WHERE jobs.id = q.value->>0;

-- name: update
UPDATE jobs SET
  status = q.value->>1,
  due_at = coalesce(q.value->>2, due_at),
  finished_at = q.value->>3,
  started_at = coalesce(started_at, q.value->>4),
  attempts_used = attempts_used + (q.value->>5),
  progress = coalesce(q.value->>6, progress),
  error_code = CASE WHEN q.value->>7 THEN q.value->>8 ELSE error_code END,
  error_message = CASE WHEN q.value->>7 THEN q.value->>9 ELSE error_message END,
  input_tokens = coalesce(input_tokens + (q.value->>10), q.value->>10, input_tokens),
  cached_tokens = coalesce(cached_tokens + (q.value->>11), q.value->>11, cached_tokens),
  output_tokens = coalesce(output_tokens + (q.value->>12), q.value->>12, output_tokens),
  reasoning_tokens = coalesce(reasoning_tokens + (q.value->>13), q.value->>13, reasoning_tokens),
  cost_usd = coalesce(cost_usd + (q.value->>14), q.value->>14, cost_usd)
FROM jsonb_each(?1) q
WHERE jobs.id = q.value->>0;

-- name: set_join
-- Whoever waits for children is a group from now on; with an ending it waits for all. It has made a step, and killed
-- nobody: rescues of groups count in a row.
UPDATE jobs SET is_group = 1, rescues = 0, lone_rescues = 0,
  join_successes = CASE WHEN ending IS NULL THEN ?2 END,
  join_live = CASE WHEN ending IS NULL THEN ?3 ELSE 0 END,
  join_until = CASE WHEN ending IS NULL THEN ?4 END
WHERE id = ?1;

-- name: end_leases
DELETE FROM leases WHERE fence IN (SELECT value FROM jsonb_each(?1));

-- name: drop_results
DELETE FROM results WHERE job_id IN (SELECT value FROM jsonb_each(?1));

-- name: drop_result_refs
DELETE FROM blob_refs WHERE role = 'result' AND owner IN (SELECT value FROM jsonb_each(?1));

-- name: insert_results
INSERT OR REPLACE INTO results (job_id, status_code, text, blob_id, bytes, request_id) VALUES ?*;

-- name: takeable
-- Terminal children not taken over yet: primary key.
SELECT j.id, j.status, j.is_group, j.input_tokens, j.cached_tokens, j.output_tokens, j.reasoning_tokens, j.cost_usd
FROM jsonb_each(?1) q JOIN jobs j ON j.id = q.value
WHERE j.parent_id = ?2 AND j.is_collected = 0 AND j.status IN ('succeeded', 'failed', 'cancelled');

-- name: collect
UPDATE jobs SET is_collected = 1 WHERE id IN (SELECT value FROM jsonb_each(?1));

-- name: take_over
-- Adds (or, negative, takes back) counts and sums of children.
UPDATE jobs SET
  taken_succeeded = taken_succeeded + ?2, taken_failed = taken_failed + ?3, taken_cancelled = taken_cancelled + ?4,
  input_tokens = coalesce(input_tokens + ?5, ?5, input_tokens),
  cached_tokens = coalesce(cached_tokens + ?6, ?6, cached_tokens),
  output_tokens = coalesce(output_tokens + ?7, ?7, output_tokens),
  reasoning_tokens = coalesce(reasoning_tokens + ?8, ?8, reasoning_tokens),
  cost_usd = coalesce(cost_usd + ?9, ?9, cost_usd)
WHERE id = ?1;

-- name: next_numbers
SELECT name, max(number) + 1 FROM segments WHERE job_id = ?1 GROUP BY name;

-- name: insert_segments
INSERT INTO segments (job_id, name, number, blob_id, lines, bytes)
SELECT value->>0, value->>1, value->>2, value->>3, value->>4, value->>5 FROM jsonb_each(?1);
