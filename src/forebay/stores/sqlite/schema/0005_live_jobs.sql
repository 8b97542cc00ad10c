-- How many jobs of a tenant have not ended, for its `max_queued`. Lines of a batch and notices do not count. It has all
-- that its condition names, or each count would read the jobs themselves.

CREATE INDEX jobs_live ON jobs (tenant, kind, status, parent_id)
  WHERE parent_id = '' AND kind <> 'notify' AND status IN ('queued', 'waiting');
