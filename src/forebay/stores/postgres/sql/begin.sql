-- name: insert
-- Fenced by the primary key of leases, which are held until the commit: who rescues the job waits, and sees the
-- attempt. A repeat under the same lease changes nothing.
WITH held AS MATERIALIZED (
  SELECT q.* FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::text[], $5::float8[], $6::text[])
    AS q (job_id, number, fence, target, started_at, model)
  JOIN leases l ON l.fence = q.fence AND l.job_id = q.job_id
  ORDER BY l.fence FOR KEY SHARE OF l
)
INSERT INTO attempts (job_id, number, fence, target, started_at, model, outcome)
SELECT job_id, number, fence, target, started_at, model, 'running' FROM held
ON CONFLICT (job_id, number) DO UPDATE SET fence = excluded.fence
RETURNING fence, job_id;
