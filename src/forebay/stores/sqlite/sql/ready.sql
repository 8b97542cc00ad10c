-- name: charge
-- Fair ranking: last = max(the queue's clock, the tenant's last) + cost; [queue, tenant, cost] in, the new last out.
INSERT INTO ranks (queue, tenant, last, charged)
SELECT g.value->>0, g.value->>1, coalesce(c.last, 0.0) + (g.value->>2), g.value->>2
FROM jsonb_each(?1) g LEFT JOIN ranks c ON c.queue = g.value->>0 AND c.tenant = '' WHERE true
ON CONFLICT (queue, tenant) DO UPDATE
SET last = max(ranks.last + excluded.charged, excluded.last), charged = excluded.charged
RETURNING queue, tenant, last;

-- name: give_back
UPDATE ranks SET last = last - (g.value->>2) FROM jsonb_each(?1) g
WHERE ranks.queue = g.value->>0 AND ranks.tenant = g.value->>1;

-- name: advance_clock
INSERT INTO ranks (queue, tenant, last, charged) SELECT key, '', value, 0.0 FROM jsonb_each(?1) WHERE true
ON CONFLICT (queue, tenant) DO UPDATE SET last = max(ranks.last, excluded.last);

-- name: insert_ready
INSERT OR IGNORE INTO ready (queue, is_suspect, urgency, rank, job_id, deadline, created_at)
SELECT value->>0, value->>1, value->>2, value->>3, value->>4, value->>5, value->>6 FROM jsonb_each(?1);

-- name: insert_fresh
-- The same for jobs that are being added: no suspect is among them.
INSERT INTO ready (queue, is_suspect, urgency, rank, job_id, deadline, created_at, is_fresh)
SELECT value->>0, 0, value->>1, value->>2, value->>3, value->>4, value->>5, 1 FROM jsonb_each(?1);

-- name: insert_later
INSERT OR IGNORE INTO later (due_at, job_id, queue, created_at, entered_at)
SELECT value->>0, value->>1, value->>2, value->>3, ?2 FROM jsonb_each(?1);

-- name: places
-- The rows of jobs that shall be queued: primary key. One whose call goes on elsewhere (its attempt still runs, and no
-- lease) goes before all that is to be sent: its urgency is 10,000 smaller, as long as it is so.
SELECT j.id, j.queue, j.tenant,
       CASE WHEN EXISTS (SELECT 1 FROM attempts a WHERE a.job_id = j.id AND a.outcome = 'running')
         THEN CASE WHEN j.urgency > -5000 THEN j.urgency - 10000 ELSE j.urgency END
         ELSE CASE WHEN j.urgency > -5000 THEN j.urgency ELSE j.urgency + 10000 END END,
       j.cost, j.rescues >= 2, j.due_at, j.created_at,
       CASE WHEN j.is_group THEN NULL ELSE j.deadline END
FROM jsonb_each(?1) q JOIN jobs j ON j.id = q.value ORDER BY q.id;

-- name: set_ranks
UPDATE jobs SET rank = q.value->>1, urgency = q.value->>2 FROM jsonb_each(?1) q WHERE jobs.id = q.value->>0;

-- name: leave_ready
-- Takes jobs out of `ready`, by its primary key, which their rows know.
DELETE FROM ready WHERE (queue, is_suspect, urgency, rank, job_id) IN (
  SELECT j.queue, j.rescues >= 2, j.urgency, j.rank, j.id FROM jsonb_each(?1) q JOIN jobs j ON j.id = q.value
  WHERE j.rank IS NOT NULL);

-- name: leave_later
DELETE FROM later WHERE (due_at, job_id) IN (
  SELECT j.due_at, j.id FROM jsonb_each(?1) q JOIN jobs j ON j.id = q.value);

-- name: take_due
-- Primary key of `later`.
DELETE FROM later WHERE (due_at, job_id) IN (
  SELECT due_at, job_id FROM later WHERE due_at <= ?1 ORDER BY due_at, job_id LIMIT ?2)
RETURNING job_id;
