-- name: insert
-- Fenced by the primary key of leases; a repeat under the same lease changes nothing.
INSERT INTO attempts (job_id, number, fence, target, started_at, model, outcome)
SELECT q.value->>0, q.value->>1, q.value->>2, q.value->>3, q.value->>4, q.value->>5, 'running'
FROM jsonb_each(?1) q JOIN leases l ON l.fence = q.value->>2 AND l.job_id = q.value->>0 WHERE true
ON CONFLICT (job_id, number) DO UPDATE SET fence = excluded.fence;

-- name: held
SELECT l.fence, l.job_id FROM jsonb_each(?1) q JOIN leases l ON l.fence = q.value->>2 AND l.job_id = q.value->>0;
