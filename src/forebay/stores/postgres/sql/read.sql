-- name: jobs
-- Primary keys.
SELECT r.* FROM job_rows r WHERE r.id = ANY($1::text[]) AND ($2::text IS NULL OR r.tenant = $2);

-- name: bodies
SELECT b.job_id, b.text, b.blob_id, b.bytes FROM bodies b WHERE b.job_id = ANY($1::text[]);

-- name: results
SELECT r.job_id, r.status_code, r.text, r.blob_id, r.bytes, r.request_id
FROM results r WHERE r.job_id = ANY($1::text[]);

-- name: attempts
SELECT a.job_id, a.number, a.fence, a.target, a.started_at, a.model, a.outcome, a.finished_at, a.status_code, a.error,
       a.retry_at, a.usage, a.cost_usd
FROM attempts a WHERE a.job_id = ANY($1::text[]) ORDER BY a.job_id, a.number;

-- name: all_segments
SELECT s.job_id, s.name, s.number, s.blob_id, s.lines, s.bytes
FROM segments s WHERE s.job_id = ANY($1::text[]) ORDER BY s.job_id, s.name, s.number;

-- name: segments
SELECT name, number, blob_id, lines, bytes FROM segments WHERE job_id = $1 AND name = $2 AND number > $3 ORDER BY number;

-- name: chunks
SELECT number, text FROM chunks WHERE job_id = $1 AND number > $2 ORDER BY number LIMIT $3;

-- name: orphans
-- blob_refs_blob
SELECT q.id FROM unnest($1::text[]) WITH ORDINALITY AS q (id, place)
WHERE NOT EXISTS (SELECT 1 FROM blob_refs b WHERE b.blob_id = q.id) ORDER BY q.place;

-- name: tallies
-- jobs_children: children that still have rows and were not taken over.
SELECT c.parent_id, c.status, count(*), sum(c.input_tokens)::bigint, sum(c.cached_tokens)::bigint,
       sum(c.output_tokens)::bigint, sum(c.reasoning_tokens)::bigint, sum(c.cost_usd)
FROM jobs c WHERE c.parent_id = ANY($1::text[]) AND c.parent_id <> '' AND NOT c.is_collected
GROUP BY c.parent_id, c.status;

-- name: taken
SELECT j.id, j.taken_succeeded, j.taken_failed, j.taken_cancelled, j.input_tokens, j.cached_tokens, j.output_tokens,
       j.reasoning_tokens, j.cost_usd
FROM jobs j WHERE j.id = ANY($1::text[]);

-- name: depths
-- Scans of ready, later, leases and jobs_dead, none of which reads a job that is queued.
SELECT queue, sum(queued)::bigint, sum(running)::bigint, min(oldest), sum(dead)::bigint FROM (
  SELECT queue, count(*) AS queued, 0 AS running, min(created_at) AS oldest, 0 AS dead FROM ready GROUP BY queue
  UNION ALL
  SELECT queue, count(*), 0, min(created_at), 0 FROM later GROUP BY queue
  UNION ALL
  SELECT j.queue, 0, count(*), NULL, 0 FROM leases l JOIN jobs j ON j.id = l.job_id GROUP BY j.queue
  UNION ALL
  SELECT queue, 0, 0, NULL, count(*) FROM jobs WHERE status = 'failed' GROUP BY queue
) AS parts GROUP BY queue ORDER BY queue;

-- name: backlog
-- jobs_live, no further than to the ceiling.
SELECT count(*) FROM (
  SELECT 1 FROM jobs
  WHERE tenant = $1 AND parent_id = '' AND kind <> 'notify' AND status IN ('queued', 'waiting') LIMIT $2) AS live;

-- name: queues
-- One step per queue through the primary key of ready, from one name to another.
WITH RECURSIVE queues (queue) AS (
  SELECT min(queue) FROM ready WHERE queue > $1 AND queue < $2
  UNION ALL
  SELECT (SELECT min(r.queue) FROM ready r WHERE r.queue > q.queue AND r.queue < $2) FROM queues q
  WHERE q.queue IS NOT NULL
)
SELECT queue FROM queues WHERE queue IS NOT NULL LIMIT $3;

-- name: watched
-- Of watched jobs: when each ended, and its last chunk.
SELECT j.id, j.finished_at,
       (SELECT max(c.number) FROM chunks c WHERE c.job_id = j.id)
FROM jobs j WHERE j.id = ANY($1::text[]);

-- name: claimable
-- Of watched queues, those that are not empty: primary key of ready. What falls due is told by who moves it.
-- `notify:` stands for all that begin so.
SELECT q.queue FROM unnest($1::text[]) AS q (queue)
WHERE EXISTS (SELECT 1 FROM ready r WHERE r.queue = q.queue)
  OR (q.queue = 'notify:' AND EXISTS (SELECT 1 FROM ready r WHERE r.queue > 'notify:' AND r.queue < 'notify;'));
