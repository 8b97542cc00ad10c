-- name: insert
-- Fenced by the primary key of leases; a repeat under the same lease changes nothing.
INSERT INTO attempts (job_id, number, fence, target, started_at, model, outcome)
SELECT q.column1, q.column2, q.column3, q.column4, q.column5, q.column6, 'running'
FROM (VALUES ?*) q JOIN leases l ON l.fence = q.column3 AND l.job_id = q.column1 WHERE true
ON CONFLICT (job_id, number) DO UPDATE SET fence = excluded.fence;

-- name: held
SELECT l.fence, l.job_id FROM jsonb_each(?1) q JOIN leases l ON l.fence = q.value->>2 AND l.job_id = q.value->>0;
