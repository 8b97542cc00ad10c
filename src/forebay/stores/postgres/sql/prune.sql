-- name: ended
-- jobs_ended; roots without an undelivered notice (jobs_key) and without a live descendant (jobs_children).
SELECT j.id FROM jobs j
WHERE j.parent_id = '' AND j.status IN ('succeeded', 'failed', 'cancelled') AND j.finished_at < $1
  AND NOT EXISTS (
    SELECT 1 FROM jobs n WHERE n.tenant = j.tenant AND n.parent_id = '' AND n.key <> ''
      AND n.key >= 'end:' || j.id || ':' AND n.key < 'end:' || j.id || ';' AND n.status IN ('queued', 'waiting'))
  AND NOT EXISTS (
    WITH RECURSIVE tree (id, status) AS (
      SELECT c.id, c.status FROM jobs c WHERE c.parent_id = j.id AND c.parent_id <> ''
      UNION ALL
      SELECT c.id, c.status FROM tree t JOIN jobs c ON c.parent_id = t.id AND c.parent_id <> ''
    )
    SELECT 1 FROM tree WHERE status IN ('queued', 'waiting'))
ORDER BY j.finished_at LIMIT $2 FOR UPDATE SKIP LOCKED;

-- name: parents
-- Those of the roots that have children: jobs_children, once for each root.
SELECT q.id FROM unnest($1::text[]) AS q (id)
WHERE EXISTS (SELECT 1 FROM jobs c WHERE c.parent_id = q.id AND c.parent_id <> '');

-- name: ranks
-- A tenant whose last rank lies behind the queue's clock starts at the clock: its row says nothing.
DELETE FROM ranks WHERE ctid = ANY(ARRAY(
  SELECT r.ctid FROM ranks r JOIN ranks c ON c.queue = r.queue AND c.tenant = ''
  WHERE r.tenant <> '' AND r.last <= c.last FOR UPDATE OF r SKIP LOCKED));
