-- name: jobs
-- Primary keys.
SELECT r.* FROM jsonb_each(?1) q JOIN job_rows r ON r.id = q.value WHERE ?2 IS NULL OR r.tenant = ?2;

-- name: bodies
SELECT b.job_id, b.text, b.blob_id, b.bytes FROM jsonb_each(?1) q JOIN bodies b ON b.job_id = q.value;

-- name: results
SELECT r.job_id, r.status_code, r.text, r.blob_id, r.bytes, r.request_id
FROM jsonb_each(?1) q JOIN results r ON r.job_id = q.value;

-- name: attempts
SELECT a.job_id, a.number, a.fence, a.target, a.started_at, a.model, a.outcome, a.finished_at, a.status_code, a.error,
       a.retry_at, a.usage, a.cost_usd
FROM jsonb_each(?1) q JOIN attempts a ON a.job_id = q.value ORDER BY a.job_id, a.number;

-- name: all_segments
SELECT s.job_id, s.name, s.number, s.blob_id, s.lines, s.bytes
FROM jsonb_each(?1) q JOIN segments s ON s.job_id = q.value ORDER BY s.job_id, s.name, s.number;

-- name: segments
SELECT name, number, blob_id, lines, bytes FROM segments WHERE job_id = ?1 AND name = ?2 AND number > ?3 ORDER BY number;

-- name: chunks
SELECT number, text FROM chunks WHERE job_id = ?1 AND number > ?2 ORDER BY number LIMIT ?3;

-- name: orphans
-- blob_refs_blob
SELECT q.value FROM jsonb_each(?1) q
WHERE NOT EXISTS (SELECT 1 FROM blob_refs b WHERE b.blob_id = q.value) ORDER BY q.id;

-- name: tallies
-- jobs_children: children that still have rows and were not taken over.
SELECT c.parent_id, c.status, count(*), sum(c.input_tokens), sum(c.cached_tokens), sum(c.output_tokens),
       sum(c.reasoning_tokens), sum(c.cost_usd)
FROM jsonb_each(?1) q JOIN jobs c ON c.parent_id = q.value AND c.parent_id <> '' AND c.is_collected = 0
GROUP BY c.parent_id, c.status;

-- name: taken
SELECT j.id, j.taken_succeeded, j.taken_failed, j.taken_cancelled, j.input_tokens, j.cached_tokens, j.output_tokens,
       j.reasoning_tokens, j.cost_usd
FROM jsonb_each(?1) q JOIN jobs j ON j.id = q.value;

-- name: depths
-- Scans of ready, later, leases and jobs_dead, none of which reads a job that is queued.
SELECT queue, sum(queued), sum(running), min(oldest), sum(dead) FROM (
  SELECT queue, count(*) AS queued, 0 AS running, min(created_at) AS oldest, 0 AS dead FROM ready GROUP BY queue
  UNION ALL
  SELECT queue, count(*), 0, min(created_at), 0 FROM later GROUP BY queue
  UNION ALL
  SELECT j.queue, 0, count(*), NULL, 0 FROM leases l JOIN jobs j ON j.id = l.job_id GROUP BY j.queue
  UNION ALL
  SELECT queue, 0, 0, NULL, count(*) FROM jobs INDEXED BY jobs_dead WHERE status = 'failed' GROUP BY queue
) GROUP BY queue ORDER BY queue;

-- name: backlog
-- jobs_live, no further than to the ceiling.
SELECT count(*) FROM (
  SELECT 1 FROM jobs INDEXED BY jobs_live
  WHERE tenant = ?1 AND parent_id = '' AND kind <> 'notify' AND status IN ('queued', 'waiting') LIMIT ?2);

-- name: queues
-- One step per queue through the primary key of ready, from one name to another.
WITH RECURSIVE queues (queue) AS (
  SELECT min(queue) FROM ready WHERE queue > ?1 AND queue < ?2
  UNION ALL
  SELECT (SELECT min(r.queue) FROM ready r WHERE r.queue > q.queue AND r.queue < ?2) FROM queues q
  WHERE q.queue IS NOT NULL
)
SELECT queue FROM queues WHERE queue IS NOT NULL LIMIT ?3;

-- name: last_ended
-- jobs_ended: when the last root ended; the beginning of time while none has.
SELECT coalesce(max(finished_at), 0) FROM jobs INDEXED BY jobs_ended
WHERE parent_id = '' AND status IN ('succeeded', 'failed', 'cancelled');

-- name: ended_since
-- jobs_ended: roots that ended after that moment, the first ones first.
SELECT id, finished_at FROM jobs INDEXED BY jobs_ended
WHERE parent_id = '' AND status IN ('succeeded', 'failed', 'cancelled') AND finished_at > ?1
ORDER BY finished_at LIMIT ?2;

-- name: last_chunk
-- The end of the table.
SELECT coalesce(max(rowid), 0) FROM chunks;

-- name: chunks_since
-- The rows that were added since: streams that grew.
SELECT job_id FROM chunks NOT INDEXED WHERE rowid > ?1;

-- name: watched
-- Of watched jobs: when each ended, and its last chunk.
SELECT j.id, j.finished_at,
       (SELECT max(c.number) FROM chunks c WHERE c.job_id = j.id)
FROM jsonb_each(?1) q JOIN jobs j ON j.id = q.value;

-- name: claimable
-- Of watched queues, those that are not empty: primary key of ready. `notify:` stands for all that begin so.
SELECT q.value FROM jsonb_each(?1) q
WHERE EXISTS (SELECT 1 FROM ready r WHERE r.queue = q.value)
  OR (q.value = 'notify:' AND EXISTS (SELECT 1 FROM ready r WHERE r.queue > 'notify:' AND r.queue < 'notify;'));
