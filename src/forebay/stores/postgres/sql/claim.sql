-- name: lock_lanes
-- One claimer at a time in a lane that has a cap, over all processes: held until the commit, taken in one order, and
-- nothing is waited for while it is held.
SELECT pg_advisory_xact_lock($1, number)
FROM (SELECT DISTINCT hashtext(lane) AS number FROM unnest($2::text[]) AS q (lane) ORDER BY number) AS numbers;

-- name: look
-- For each want [queue, lane or null, slots, fence]: is there anything, and is any of what would be taken past its
-- deadline (primary key of ready, in the spans [queue, after this urgency, rank and job, below this urgency]); the lane's leases
-- from the fence on, and the oldest of them (leases_fences); then the worker's epoch, whether it runs a suspect
-- (leases_alone), whether anything fell due (later), and whether the worker is buried: it must be registered again, or
-- the next sweep takes what it claims.
SELECT w.place - 1,
       head.has_ready,
       busy.leases,
       busy.oldest,
       (SELECT k.epoch FROM workers k WHERE k.id = $5),
       EXISTS (SELECT 1 FROM leases l WHERE l.is_alone AND l.worker_id = $5),
       coalesce((SELECT min(due_at) FROM later) <= $6, false),
       coalesce((SELECT k.is_dead FROM workers k WHERE k.id = $5), true),
       head.has_late
FROM unnest($1::text[], $2::text[], $3::bigint[], $12::bigint[]) WITH ORDINALITY AS w (queue, lane, slots, fence, place)
CROSS JOIN LATERAL (
  SELECT count(*) AS leases, min(l.fence) AS oldest FROM leases l
  WHERE l.lane = w.lane AND l.fence + 0 >= w.fence) AS busy
CROSS JOIN LATERAL (
  SELECT count(*) > 0 AS has_ready, coalesce(bool_or(next.deadline <= $6), false) AS has_late FROM (
    SELECT part.deadline
    FROM unnest($7::text[], $8::bigint[], $9::float8[], $10::text[], $11::bigint[])
      AS s (queue, urgency, rank, job_id, below)
    CROSS JOIN LATERAL (
      SELECT r.deadline FROM ready r WHERE r.queue = s.queue AND r.is_suspect = $4
        AND (r.urgency, r.rank, r.job_id) > (s.urgency, s.rank, s.job_id) AND r.urgency < s.below
      ORDER BY r.urgency, r.rank, r.job_id LIMIT w.slots) AS part
    WHERE s.queue = w.queue LIMIT w.slots) AS next) AS head
ORDER BY w.place;

-- name: holds
SELECT EXISTS (SELECT 1 FROM leases WHERE worker_id = $1);

-- name: late
-- Of the next jobs, those past their deadline.
SELECT rank, job_id FROM (
  SELECT rank, job_id, deadline FROM ready WHERE queue = $1 AND is_suspect = $2 ORDER BY urgency, rank, job_id LIMIT $3
) AS head WHERE deadline <= $4;

-- name: take
-- The order of claims is the primary key of ready, in the spans [after this urgency, rank and job, below this urgency];
-- what another claimer holds is passed over. By ctid: joined, it would be planned as a scan of the whole table once
-- that is large and analysed.
DELETE FROM ready WHERE ctid = ANY(ARRAY(
  SELECT part.ctid
  FROM unnest($5::bigint[], $6::float8[], $7::text[], $8::bigint[]) AS s (urgency, rank, job_id, below)
  CROSS JOIN LATERAL (
    SELECT r.ctid FROM ready r WHERE r.queue = $1 AND r.is_suspect = $2 AND (r.deadline IS NULL OR r.deadline > $4)
      AND (r.urgency, r.rank, r.job_id) > (s.urgency, s.rank, s.job_id) AND r.urgency < s.below
    ORDER BY r.urgency, r.rank, r.job_id LIMIT $3 FOR UPDATE SKIP LOCKED) AS part
  LIMIT $3))
RETURNING urgency, rank, job_id;

-- name: lease
-- In the order of the arrays, so that the fences are too.
INSERT INTO leases (job_id, lane, worker_id, epoch, is_alone, claimed_at)
SELECT q.job_id, q.lane, $3, $4, $5, $6 FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS q (job_id, lane, place)
ORDER BY q.place
RETURNING job_id, fence;

-- name: read
-- As the view job_rows has it, without asking for the leases, which were made just now, at $2: primary keys.
SELECT j.fixed, CASE WHEN j.status = 'queued' THEN 'running' ELSE j.status END, j.deadline, j.ending, j.due_at,
  coalesce(j.started_at, $2), j.finished_at, (SELECT count(*) FROM attempts a WHERE a.job_id = j.id), j.attempts_used,
  j.rescues, j.lone_rescues, j.progress, j.join_successes, j.join_live, j.join_until, j.taken_succeeded,
  j.taken_failed, j.taken_cancelled, j.error_code, j.error_message, j.input_tokens, j.cached_tokens, j.output_tokens,
  j.reasoning_tokens, j.cost_usd, b.text, b.blob_id, b.bytes
FROM jobs j LEFT JOIN bodies b ON b.job_id = j.id WHERE j.id = ANY($1::text[]);
