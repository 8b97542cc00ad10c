-- name: look
-- For each want [queue, lane or null]: is there anything (primary key of ready), and the lane's leases (leases_lane);
-- then the worker's epoch, whether it runs a suspect (leases_alone), and whether anything fell due (later).
SELECT w.key,
       EXISTS (SELECT 1 FROM ready r WHERE r.queue = w.value->>0 AND r.is_suspect = ?2),
       (SELECT count(*) FROM leases l WHERE l.lane = w.value->>1),
       (SELECT k.epoch FROM workers k WHERE k.id = ?3),
       EXISTS (SELECT 1 FROM leases l WHERE l.is_alone = 1 AND l.worker_id = ?3),
       EXISTS (SELECT 1 FROM later WHERE due_at <= ?4)
FROM jsonb_each(?1) w ORDER BY w.id;

-- name: holds
SELECT EXISTS (SELECT 1 FROM leases WHERE worker_id = ?1);

-- name: take
-- The order of claims is the primary key of ready.
DELETE FROM ready WHERE (queue, is_suspect, urgency, rank, job_id) IN (
  SELECT queue, is_suspect, urgency, rank, job_id FROM ready WHERE queue = ?1 AND is_suspect = ?2
  ORDER BY urgency, rank, job_id LIMIT ?3)
RETURNING urgency, rank, job_id, deadline;

-- name: lease
INSERT INTO leases (job_id, lane, worker_id, epoch, is_alone, claimed_at)
SELECT value->>0, value->>1, ?2, ?3, ?4, ?5 FROM jsonb_each(?1) ORDER BY id
RETURNING job_id, fence;

-- name: read
SELECT r.*, b.text, b.blob_id, b.bytes
FROM jsonb_each(?1) q JOIN job_rows r ON r.id = q.value LEFT JOIN bodies b ON b.job_id = q.value;
