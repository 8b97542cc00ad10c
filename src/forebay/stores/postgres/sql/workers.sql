-- name: find
SELECT epoch FROM workers WHERE id = $1;

-- name: register
-- Nothing is returned where the epoch has ended meanwhile.
INSERT INTO workers (id, epoch, host, pid, pid_started, queues, lease_seconds, heartbeat_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT (id) DO UPDATE SET host = excluded.host, pid = excluded.pid, pid_started = excluded.pid_started,
  queues = excluded.queues, lease_seconds = excluded.lease_seconds, heartbeat_at = excluded.heartbeat_at,
  is_dead = false
WHERE workers.epoch = excluded.epoch
RETURNING epoch;

-- name: stopping
-- leases_worker: what is in flight, once a heartbeat.
SELECT l.job_id FROM leases l JOIN jobs j ON j.id = l.job_id WHERE l.worker_id = $1 AND j.ending IS NOT NULL
ORDER BY l.job_id;

-- name: held
SELECT fence FROM leases WHERE worker_id = $1;

-- name: forget
DELETE FROM workers WHERE id = $1;

-- name: all
SELECT id, epoch, host, pid, pid_started, queues, lease_seconds, heartbeat_at FROM workers WHERE NOT is_dead ORDER BY id;

-- name: hold_to_clock
-- Heartbeats of the future: the clock was set back since, and nobody would be missed until it has caught up.
UPDATE workers SET heartbeat_at = $1 WHERE NOT is_dead AND heartbeat_at > $1 + lease_seconds;

-- name: bury
-- Their leases are taken away: the epoch ends. Not if a heartbeat was faster.
UPDATE workers SET epoch = epoch + 1, is_dead = true
WHERE NOT is_dead AND id = ANY($1::text[]) AND (heartbeat_at + lease_seconds < $2 OR id = ANY($3::text[]));

-- name: forget_buried
DELETE FROM workers WHERE is_dead AND heartbeat_at < $1
  AND NOT EXISTS (SELECT 1 FROM leases l WHERE l.worker_id = workers.id);
