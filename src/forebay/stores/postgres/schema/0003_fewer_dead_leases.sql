-- So that claims pass over leases that have ended where an older transaction keeps them from being cleared away: those
-- of a lane from a fence on, and suspects alone. An expression: the bare column would make the planner, to whom the
-- table seems empty after an ANALYZE then, look for a fence by walking through the whole of this index.

CREATE INDEX leases_fences ON leases (lane, (fence + 0));
CREATE INDEX leases_alone ON leases (worker_id) WHERE is_alone;
DROP INDEX leases_lane;
