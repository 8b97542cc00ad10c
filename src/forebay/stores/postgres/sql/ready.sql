-- name: charge
-- Fair ranking: last = max(the queue's clock, the tenant's last) + cost; [queue, tenant, cost] in, the new last out.
-- In a transaction of its own that waits for no disk: every add of a tenant needs this row.
INSERT INTO ranks (queue, tenant, last, charged)
SELECT g.queue, g.tenant, coalesce(c.last, 0.0) + g.cost, g.cost
FROM unnest($1::text[], $2::text[], $3::float8[]) AS g (queue, tenant, cost)
LEFT JOIN ranks c ON c.queue = g.queue AND c.tenant = ''
ORDER BY g.queue COLLATE "C", g.tenant COLLATE "C"
ON CONFLICT (queue, tenant) DO UPDATE
SET last = greatest(ranks.last + excluded.charged, excluded.last), charged = excluded.charged
RETURNING queue, tenant, last;

-- name: give_back
UPDATE ranks SET last = last - g.cost FROM unnest($1::text[], $2::text[], $3::float8[]) AS g (queue, tenant, cost)
WHERE ranks.queue = g.queue AND ranks.tenant = g.tenant;

-- name: advance_clock
INSERT INTO ranks (queue, tenant, last, charged)
SELECT q.queue, '', q.last, 0.0 FROM unnest($1::text[], $2::float8[]) AS q (queue, last) ORDER BY q.queue COLLATE "C"
ON CONFLICT (queue, tenant) DO UPDATE SET last = excluded.last WHERE ranks.last < excluded.last;

-- name: insert_ready
INSERT INTO ready (queue, is_suspect, urgency, rank, job_id, deadline, created_at)
SELECT * FROM unnest($1::text[], $2::boolean[], $3::bigint[], $4::float8[], $5::text[], $6::float8[], $7::float8[])
ON CONFLICT DO NOTHING;

-- name: insert_later
INSERT INTO later (due_at, job_id, queue, created_at)
SELECT * FROM unnest($1::float8[], $2::text[], $3::text[], $4::float8[])
ON CONFLICT DO NOTHING;

-- name: places
-- The rows of jobs that shall be queued: primary key. One whose call goes on elsewhere (its attempt still runs, and no
-- lease) goes before all that is to be sent: its urgency is 10,000 smaller, as long as it is so.
SELECT j.id, j.queue, j.tenant,
       CASE WHEN EXISTS (SELECT 1 FROM attempts a WHERE a.job_id = j.id AND a.outcome = 'running')
         THEN CASE WHEN j.urgency > -5000 THEN j.urgency - 10000 ELSE j.urgency END
         ELSE CASE WHEN j.urgency > -5000 THEN j.urgency ELSE j.urgency + 10000 END END,
       j.cost, j.rescues >= 2, j.due_at, j.created_at,
       CASE WHEN j.is_group THEN NULL ELSE j.deadline END
FROM unnest($1::text[]) WITH ORDINALITY AS q (id, place) JOIN jobs j ON j.id = q.id ORDER BY q.place;

-- name: set_ranks
UPDATE jobs SET rank = q.rank, urgency = q.urgency
FROM unnest($1::text[], $2::float8[], $3::bigint[]) AS q (id, rank, urgency) WHERE jobs.id = q.id;

-- name: leave_ready
-- Takes jobs out of `ready`, by its primary key, which their rows know; not those that a claimer was faster to take.
DELETE FROM ready WHERE ctid = ANY(ARRAY(
  SELECT r.ctid FROM jobs j JOIN ready r ON r.queue = j.queue AND r.is_suspect = (j.rescues >= 2)
    AND r.urgency = j.urgency AND r.rank = j.rank AND r.job_id = j.id
  WHERE j.id = ANY($1::text[]) AND j.rank IS NOT NULL FOR UPDATE OF r))
RETURNING job_id;

-- name: leave_later
DELETE FROM later WHERE ctid = ANY(ARRAY(
  SELECT l.ctid FROM jobs j JOIN later l ON l.due_at = j.due_at AND l.job_id = j.id
  WHERE j.id = ANY($1::text[]) FOR UPDATE OF l))
RETURNING job_id;

-- name: take_due
-- Primary key of `later`; the jobs' rows are held with them, and what someone else holds is passed over.
DELETE FROM later WHERE ctid = ANY(ARRAY(
  SELECT l.ctid FROM later l JOIN jobs j ON j.id = l.job_id WHERE l.due_at <= $1
  ORDER BY l.due_at, l.job_id LIMIT $2 FOR UPDATE OF l, j SKIP LOCKED))
RETURNING due_at, job_id;
