-- How many jobs of a tenant have not ended, for its `max_queued`. Lines of a batch and notices do not count.

CREATE INDEX jobs_live ON jobs (tenant) WHERE parent_id = '' AND kind <> 'notify' AND status IN ('queued', 'waiting');
