-- name: look
-- For each want [queue, lane or null]: is there anything (primary key of ready), and the lane's leases (leases_lane);
-- then the worker's epoch, whether it runs a suspect (leases_alone), whether anything fell due (later), and whether the
-- worker is buried: it must be registered again, or the next sweep takes what it claims.
SELECT w.key,
       EXISTS (SELECT 1 FROM ready r WHERE r.queue = w.value->>0 AND r.is_suspect = ?2),
       (SELECT count(*) FROM leases l WHERE l.lane = w.value->>1),
       (SELECT k.epoch FROM workers k WHERE k.id = ?3),
       EXISTS (SELECT 1 FROM leases l WHERE l.is_alone = 1 AND l.worker_id = ?3),
       EXISTS (SELECT 1 FROM later WHERE due_at <= ?4),
       coalesce((SELECT k.is_dead FROM workers k WHERE k.id = ?3), 1)
FROM jsonb_each(?1) w ORDER BY w.id;

-- name: holds
SELECT EXISTS (SELECT 1 FROM leases WHERE worker_id = ?1);

-- name: next
-- The order of claims is the primary key of ready.
SELECT json_group_array(json_array(rank, job_id, deadline, is_fresh)) FROM (
  SELECT rank, job_id, deadline, is_fresh FROM ready WHERE queue = ?1 AND is_suspect = ?2 ORDER BY urgency, rank, job_id LIMIT ?3);

-- name: take
-- What `next` named.
DELETE FROM ready WHERE (queue, is_suspect, urgency, rank, job_id) IN (
  SELECT queue, is_suspect, urgency, rank, job_id FROM ready WHERE queue = ?1 AND is_suspect = ?2
  ORDER BY urgency, rank, job_id LIMIT ?3);

-- name: lease
-- In the order of the array, so that the fences are consecutive.
INSERT INTO leases (job_id, lane, worker_id, epoch, is_alone, claimed_at)
SELECT value->>0, value->>1, ?2, ?3, ?4, ?5 FROM jsonb_each(?1);

-- name: read_fresh
-- What is not known of jobs that stand as they were added: primary keys.
SELECT json_group_array(json_array(j.fixed, j.deadline, j.due_at, j.progress, b.text, b.blob_id, b.bytes))
FROM jsonb_each(?1) q JOIN jobs j ON j.id = q.value LEFT JOIN bodies b ON b.job_id = q.value;

-- name: read
SELECT json_group_array(json_array(
  r.fixed, r.state, r.deadline, r.ending, r.due_at, r.started_at, r.finished_at, r.attempt_count, r.attempts_used,
  r.rescues, r.lone_rescues, r.progress, r.join_successes, r.join_live, r.join_until, r.taken_succeeded,
  r.taken_failed, r.taken_cancelled, r.error_code, r.error_message, r.input_tokens, r.cached_tokens, r.output_tokens,
  r.reasoning_tokens, r.cost_usd, b.text, b.blob_id, b.bytes))
FROM jsonb_each(?1) q JOIN job_rows r ON r.id = q.value LEFT JOIN bodies b ON b.job_id = q.value;
