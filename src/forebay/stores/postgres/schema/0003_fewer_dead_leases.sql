-- So that claims pass over leases that have ended where an older transaction keeps them from being cleared away: those
-- of a lane from a fence on, and suspects alone.

CREATE INDEX leases_fences ON leases (lane, fence);
CREATE INDEX leases_alone ON leases (worker_id) WHERE is_alone;
DROP INDEX leases_lane;
