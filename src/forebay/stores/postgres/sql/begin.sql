-- name: insert
-- Fenced by the primary key of leases, which are held until the commit: who rescues the job waits, and sees the
-- attempt. A repeat under the same lease changes nothing.
-- One probe for each: joined, the planner would read a table that seems empty to it from its first dead row on.
WITH held AS MATERIALIZED (
  SELECT q.* FROM (
    SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::text[], $5::float8[], $6::text[])
      AS a (job_id, number, fence, target, started_at, model) ORDER BY fence) AS q
  CROSS JOIN LATERAL (
    SELECT 1 FROM leases WHERE fence = q.fence AND job_id = q.job_id LIMIT 1 FOR KEY SHARE) AS l
)
INSERT INTO attempts (job_id, number, fence, target, started_at, model, outcome)
SELECT job_id, number, fence, target, started_at, model, 'running' FROM held
ON CONFLICT (job_id, number) DO UPDATE SET fence = excluded.fence
RETURNING fence, job_id;
