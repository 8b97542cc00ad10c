-- `ready` tells which rows stand there as they were added; plain requests need no entry among the kinds.

ALTER TABLE ready ADD COLUMN is_fresh INTEGER NOT NULL DEFAULT 0;

DROP INDEX jobs_kinds;
CREATE INDEX jobs_kinds ON jobs (tenant, kind, id) WHERE parent_id = '' AND kind <> 'infer';
