-- The view asks for the lease of each job by one probe. As a join the planner, to whom the table of leases seems empty
-- when an ANALYZE found nothing but dead rows in it, would read all of them for a page of jobs.

CREATE OR REPLACE VIEW job_rows AS
SELECT
  j.fixed,
  CASE WHEN l.fence IS NOT NULL AND j.status = 'queued' THEN 'running' COLLATE "C" ELSE j.status END AS state,
  j.deadline, j.ending, j.due_at, coalesce(j.started_at, l.claimed_at) AS started_at, j.finished_at,
  (SELECT count(*) FROM attempts a WHERE a.job_id = j.id) AS attempt_count,
  j.attempts_used, j.rescues, j.lone_rescues, j.progress, j.join_successes, j.join_live, j.join_until,
  j.taken_succeeded, j.taken_failed, j.taken_cancelled, j.error_code, j.error_message,
  j.input_tokens, j.cached_tokens, j.output_tokens, j.reasoning_tokens, j.cost_usd,
  j.id, j.tenant, j.parent_id, j.key, j.kind, j.queue, j.origin, j.created_at, j.status, j.is_collected,
  j.target, j.model, j.metadata, l.fence
FROM jobs j
LEFT JOIN LATERAL (SELECT e.fence, e.claimed_at FROM leases e WHERE e.job_id = j.id LIMIT 1) AS l ON true;
