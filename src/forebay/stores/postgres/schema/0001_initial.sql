-- The first layout, as SQLite's. Hot tables have no foreign keys and no triggers; partial indexes only. Text that is
-- compared is ordered by its bytes, whatever the database's locale.

CREATE TABLE meta (name text COLLATE "C" PRIMARY KEY, value text NOT NULL);

-- Small state and the unchanging part as JSON (`fixed`). `running` is not written: it is `queued` with a lease.
CREATE TABLE jobs (
  id text COLLATE "C" PRIMARY KEY,
  tenant text COLLATE "C" NOT NULL,
  parent_id text COLLATE "C" NOT NULL,
  key text COLLATE "C" NOT NULL,   -- of a child without a key: its id, so that every child stands in jobs_key
  kind text COLLATE "C" NOT NULL,
  queue text COLLATE "C" NOT NULL,
  origin text COLLATE "C" NOT NULL,
  is_group boolean NOT NULL,
  urgency bigint NOT NULL,         -- -(priority, and 1000 if awaited)
  cost double precision NOT NULL,  -- tokens / weight: what an entry into `ready` adds to the tenant's rank
  created_at double precision NOT NULL,
  deadline double precision NOT NULL,  -- the current one; the first one stands in `fixed`
  due_at double precision NOT NULL,
  rank double precision,           -- of its row in `ready`
  fixed text NOT NULL,             -- text: jsonb refuses the character U+0000, and nothing here looks into it
  notices bigint NOT NULL,         -- how many jobs its end adds
  progress text,
  status text COLLATE "C" NOT NULL,
  finished_at double precision,
  error_code text COLLATE "C",
  error_message text,
  target text COLLATE "C",         -- target, model and metadata: what `find` filters by, out of `fixed`
  model text COLLATE "C",
  metadata jsonb,
  ending text COLLATE "C",
  started_at double precision,
  attempts_used bigint NOT NULL DEFAULT 0,
  rescues bigint NOT NULL DEFAULT 0,
  lone_rescues bigint NOT NULL DEFAULT 0,
  join_successes bigint,
  join_live bigint,                -- NULL: no join
  join_until double precision,
  taken_succeeded bigint NOT NULL DEFAULT 0,
  taken_failed bigint NOT NULL DEFAULT 0,
  taken_cancelled bigint NOT NULL DEFAULT 0,
  input_tokens bigint,
  cached_tokens bigint,
  output_tokens bigint,
  reasoning_tokens bigint,
  cost_usd double precision,
  is_collected boolean NOT NULL DEFAULT false
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000,
        autovacuum_analyze_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);

CREATE UNIQUE INDEX jobs_key ON jobs (tenant, parent_id, key) WHERE key <> '';
CREATE INDEX jobs_children ON jobs (parent_id, is_collected, status) WHERE parent_id <> '';
CREATE INDEX jobs_roots ON jobs (tenant, id) WHERE parent_id = '';
CREATE INDEX jobs_kinds ON jobs (tenant, kind, id) WHERE parent_id = '' AND kind <> 'infer';
CREATE INDEX jobs_done ON jobs (tenant, status, id)
  WHERE parent_id = '' AND status IN ('succeeded', 'failed', 'cancelled');
CREATE INDEX jobs_origin ON jobs (tenant, origin) WHERE origin <> '';
CREATE INDEX jobs_deadline ON jobs (deadline) WHERE status IN ('queued', 'waiting') AND ending IS NULL;
CREATE INDEX jobs_waiting ON jobs (id) WHERE status = 'waiting';
CREATE INDEX jobs_until ON jobs (join_until) WHERE status = 'waiting' AND join_until IS NOT NULL;
CREATE INDEX jobs_dead ON jobs (tenant, id, queue) WHERE status = 'failed';
CREATE INDEX jobs_ended ON jobs (finished_at)
  WHERE parent_id = '' AND status IN ('succeeded', 'failed', 'cancelled');

-- Apart from the rows: bodies and results are large, and no claim and no change of state rewrites them.
CREATE TABLE bodies (job_id text COLLATE "C" PRIMARY KEY, text text, blob_id text COLLATE "C", bytes bigint NOT NULL);
CREATE TABLE results (
  job_id text COLLATE "C" PRIMARY KEY, status_code bigint, text text, blob_id text COLLATE "C", bytes bigint NOT NULL,
  request_id text
);

-- What can be claimed now, in the order of claims. Insert and delete only: dead rows at its head are what a claim
-- wades through, so that it is vacuumed early and without pauses.
CREATE TABLE ready (
  queue text COLLATE "C" NOT NULL,
  is_suspect boolean NOT NULL,
  urgency bigint NOT NULL,
  rank double precision NOT NULL,
  job_id text COLLATE "C" NOT NULL,
  deadline double precision,       -- NULL for groups, which are never ended by a claim
  created_at double precision NOT NULL,
  PRIMARY KEY (queue, is_suspect, urgency, rank, job_id)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0,
        autovacuum_analyze_scale_factor = 0.1);

CREATE TABLE later (
  due_at double precision NOT NULL, job_id text COLLATE "C" NOT NULL, queue text COLLATE "C" NOT NULL,
  created_at double precision NOT NULL,
  PRIMARY KEY (due_at, job_id)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);

-- One row per job in flight; the fences grow for ever.
CREATE SEQUENCE fences;
CREATE TABLE leases (
  fence bigint PRIMARY KEY DEFAULT nextval('fences'),
  job_id text COLLATE "C" NOT NULL UNIQUE,
  lane text COLLATE "C" NOT NULL,
  worker_id text COLLATE "C" NOT NULL,
  epoch bigint NOT NULL,
  is_alone boolean NOT NULL,
  claimed_at double precision NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX leases_lane ON leases (lane);
CREATE INDEX leases_worker ON leases (worker_id);

CREATE TABLE workers (
  id text COLLATE "C" PRIMARY KEY, epoch bigint NOT NULL, host text NOT NULL, pid bigint NOT NULL,
  pid_started text NOT NULL, queues text NOT NULL, lease_seconds double precision NOT NULL,
  heartbeat_at double precision NOT NULL, is_dead boolean NOT NULL DEFAULT false
) WITH (fillfactor = 50);

-- Fair ranking: the last rank of each tenant in each queue; tenant '' is the queue's clock, the last rank claimed.
CREATE TABLE ranks (
  queue text COLLATE "C" NOT NULL, tenant text COLLATE "C" NOT NULL, last double precision NOT NULL,
  charged double precision NOT NULL,
  PRIMARY KEY (queue, tenant)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);

CREATE TABLE attempts (
  job_id text COLLATE "C" NOT NULL, number bigint NOT NULL, fence bigint NOT NULL, target text NOT NULL,
  started_at double precision NOT NULL, model text, outcome text COLLATE "C" NOT NULL, finished_at double precision,
  status_code bigint, error text, retry_at double precision, usage text, cost_usd double precision,
  PRIMARY KEY (job_id, number)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);

CREATE TABLE chunks (
  job_id text COLLATE "C" NOT NULL, number bigint NOT NULL, text text NOT NULL, PRIMARY KEY (job_id, number)
);

CREATE TABLE segments (
  job_id text COLLATE "C" NOT NULL, name text COLLATE "C" NOT NULL, number bigint NOT NULL,
  blob_id text COLLATE "C" NOT NULL, lines bigint NOT NULL, bytes bigint NOT NULL,
  PRIMARY KEY (job_id, name, number)
);

-- Who refers to which blob: owner is a job's id, or `record:` and the record's tenant, kind and id.
CREATE TABLE blob_refs (
  owner text COLLATE "C" NOT NULL, role text COLLATE "C" NOT NULL, blob_id text COLLATE "C" NOT NULL,
  PRIMARY KEY (owner, role, blob_id)
);
CREATE INDEX blob_refs_blob ON blob_refs (blob_id);

CREATE TABLE records (
  tenant text COLLATE "C" NOT NULL, kind text COLLATE "C" NOT NULL, id text COLLATE "C" NOT NULL,
  version bigint NOT NULL, data text NOT NULL, created_at double precision NOT NULL, expires_at double precision,
  blobs text NOT NULL,
  labels jsonb NOT NULL,           -- the top-level strings of `data`, for `match`
  PRIMARY KEY (tenant, kind, id)
);
CREATE INDEX records_by_id ON records (kind, id);
CREATE INDEX records_expiring ON records (expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE limits (
  name text COLLATE "C" PRIMARY KEY, full_at double precision NOT NULL, set_at double precision NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
CREATE TABLE budgets (name text COLLATE "C" PRIMARY KEY, spent_usd double precision NOT NULL)
  WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- Blobs in pieces; `bytes` is NULL while one is being written.
CREATE TABLE blobs (
  id text COLLATE "C" PRIMARY KEY, bytes bigint, sha256 text, written_at double precision NOT NULL
);
CREATE INDEX blobs_written ON blobs (written_at);
CREATE TABLE blob_pieces (
  blob_id text COLLATE "C" NOT NULL, start bigint NOT NULL, data bytea NOT NULL, PRIMARY KEY (blob_id, start)
);
ALTER TABLE blob_pieces ALTER COLUMN data SET STORAGE EXTERNAL;

-- A job as `rows.decode_job` reads it, in that order; then what queries filter by.
CREATE VIEW job_rows AS
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
FROM jobs j LEFT JOIN leases l ON l.job_id = j.id;
