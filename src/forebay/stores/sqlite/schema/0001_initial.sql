-- The first layout. Hot tables have no foreign keys and no triggers; partial indexes only.

CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

-- Small state and the unchanging part as JSON (`fixed`). `running` is not written: it is `queued` with a lease.
CREATE TABLE jobs (
  id TEXT PRIMARY KEY,
  tenant TEXT NOT NULL,
  parent_id TEXT NOT NULL,
  key TEXT NOT NULL,            -- of a child without a key: its id, so that every child stands in jobs_key
  kind TEXT NOT NULL,
  queue TEXT NOT NULL,
  origin TEXT NOT NULL,
  is_group INTEGER NOT NULL,
  urgency INTEGER NOT NULL,     -- -(priority, and 1000 if awaited)
  cost REAL NOT NULL,           -- tokens / weight: what an entry into `ready` adds to the tenant's rank
  created_at REAL NOT NULL,
  deadline REAL NOT NULL,       -- the current one; the first one stands in `fixed`
  due_at REAL NOT NULL,
  rank REAL,                    -- of its row in `ready`
  fixed TEXT NOT NULL,
  notices INTEGER NOT NULL,     -- how many jobs its end adds
  progress TEXT,
  status TEXT NOT NULL,
  finished_at REAL,
  error_code TEXT,
  error_message TEXT,
  ending TEXT,
  started_at REAL,
  attempts_used INTEGER NOT NULL DEFAULT 0,
  rescues INTEGER NOT NULL DEFAULT 0,
  lone_rescues INTEGER NOT NULL DEFAULT 0,
  join_successes INTEGER,
  join_live INTEGER,            -- NULL: no join
  join_until REAL,
  taken_succeeded INTEGER NOT NULL DEFAULT 0,
  taken_failed INTEGER NOT NULL DEFAULT 0,
  taken_cancelled INTEGER NOT NULL DEFAULT 0,
  input_tokens INTEGER,
  cached_tokens INTEGER,
  output_tokens INTEGER,
  reasoning_tokens INTEGER,
  cost_usd REAL,
  is_collected INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;

CREATE UNIQUE INDEX jobs_key ON jobs (tenant, parent_id, key) WHERE key <> '';
CREATE INDEX jobs_children ON jobs (parent_id, is_collected, status) WHERE parent_id <> '';
CREATE INDEX jobs_roots ON jobs (tenant, id) WHERE parent_id = '';
CREATE INDEX jobs_kinds ON jobs (tenant, kind, id) WHERE parent_id = '';
CREATE INDEX jobs_done ON jobs (tenant, status, id)
  WHERE parent_id = '' AND status IN ('succeeded', 'failed', 'cancelled');
CREATE INDEX jobs_origin ON jobs (tenant, origin) WHERE origin <> '';
CREATE INDEX jobs_deadline ON jobs (deadline) WHERE status IN ('queued', 'waiting') AND ending IS NULL;
CREATE INDEX jobs_waiting ON jobs (id) WHERE status = 'waiting';
CREATE INDEX jobs_until ON jobs (join_until) WHERE status = 'waiting' AND join_until IS NOT NULL;
CREATE INDEX jobs_dead ON jobs (tenant, id, queue) WHERE status = 'failed';
CREATE INDEX jobs_ended ON jobs (finished_at)
  WHERE parent_id = '' AND status IN ('succeeded', 'failed', 'cancelled');

-- Rowid tables: a body of 1 KB stands three to a page here, and would take a page of its own in an index tree.
CREATE TABLE bodies (job_id TEXT PRIMARY KEY, text TEXT, blob_id TEXT, bytes INTEGER NOT NULL);
CREATE TABLE results (
  job_id TEXT PRIMARY KEY, status_code INTEGER, text TEXT, blob_id TEXT, bytes INTEGER NOT NULL, request_id TEXT
);

-- What can be claimed now, in the order of claims. Insert and delete only.
CREATE TABLE ready (
  queue TEXT NOT NULL,
  is_suspect INTEGER NOT NULL,
  urgency INTEGER NOT NULL,
  rank REAL NOT NULL,
  job_id TEXT NOT NULL,
  deadline REAL,                -- NULL for groups, which are never ended by a claim
  created_at REAL NOT NULL,
  PRIMARY KEY (queue, is_suspect, urgency, rank, job_id)
) WITHOUT ROWID;

CREATE TABLE later (
  due_at REAL NOT NULL, job_id TEXT NOT NULL, queue TEXT NOT NULL, created_at REAL NOT NULL,
  PRIMARY KEY (due_at, job_id)
) WITHOUT ROWID;

-- One row per job in flight; the fences grow for ever.
CREATE TABLE leases (
  fence INTEGER PRIMARY KEY AUTOINCREMENT,
  job_id TEXT NOT NULL UNIQUE,
  lane TEXT NOT NULL,
  worker_id TEXT NOT NULL,
  epoch INTEGER NOT NULL,
  is_alone INTEGER NOT NULL,
  claimed_at REAL NOT NULL
);
CREATE INDEX leases_lane ON leases (lane);
CREATE INDEX leases_alone ON leases (worker_id) WHERE is_alone = 1;

CREATE TABLE workers (
  id TEXT PRIMARY KEY, epoch INTEGER NOT NULL, host TEXT NOT NULL, pid INTEGER NOT NULL, pid_started TEXT NOT NULL,
  queues TEXT NOT NULL, lease_seconds REAL NOT NULL, heartbeat_at REAL NOT NULL, is_dead INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;

-- Fair ranking: the last rank of each tenant in each queue; tenant '' is the queue's clock, the last rank claimed.
CREATE TABLE ranks (
  queue TEXT NOT NULL, tenant TEXT NOT NULL, last REAL NOT NULL, charged REAL NOT NULL,
  PRIMARY KEY (queue, tenant)
) WITHOUT ROWID;

CREATE TABLE attempts (
  job_id TEXT NOT NULL, number INTEGER NOT NULL, fence INTEGER NOT NULL, target TEXT NOT NULL, started_at REAL NOT NULL,
  model TEXT, outcome TEXT NOT NULL, finished_at REAL, status_code INTEGER, error TEXT, retry_at REAL, usage TEXT,
  cost_usd REAL,
  PRIMARY KEY (job_id, number)
) WITHOUT ROWID;

CREATE TABLE chunks (job_id TEXT NOT NULL, number INTEGER NOT NULL, text TEXT NOT NULL, PRIMARY KEY (job_id, number));

CREATE TABLE segments (
  job_id TEXT NOT NULL, name TEXT NOT NULL, number INTEGER NOT NULL, blob_id TEXT NOT NULL, lines INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  PRIMARY KEY (job_id, name, number)
) WITHOUT ROWID;

-- Who refers to which blob: owner is a job's id, or `record:` and the record's tenant, kind and id.
CREATE TABLE blob_refs (
  owner TEXT NOT NULL, role TEXT NOT NULL, blob_id TEXT NOT NULL, PRIMARY KEY (owner, role, blob_id)
) WITHOUT ROWID;
CREATE INDEX blob_refs_blob ON blob_refs (blob_id);

CREATE TABLE records (
  tenant TEXT NOT NULL, kind TEXT NOT NULL, id TEXT NOT NULL, version INTEGER NOT NULL, data TEXT NOT NULL,
  created_at REAL NOT NULL, expires_at REAL, blobs TEXT NOT NULL,
  PRIMARY KEY (tenant, kind, id)
) WITHOUT ROWID;
CREATE INDEX records_by_id ON records (kind, id);
CREATE INDEX records_expiring ON records (expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE limits (name TEXT PRIMARY KEY, full_at REAL NOT NULL, set_at REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE budgets (name TEXT PRIMARY KEY, spent_usd REAL NOT NULL) WITHOUT ROWID;

-- A job as `rows.decode_job` reads it, in that order; then what queries filter by.
CREATE VIEW job_rows AS
SELECT
  j.fixed,
  CASE WHEN l.fence IS NOT NULL AND j.status = 'queued' THEN 'running' ELSE j.status END AS state,
  j.deadline, j.ending, j.due_at, coalesce(j.started_at, l.claimed_at) AS started_at, j.finished_at,
  (SELECT count(*) FROM attempts a WHERE a.job_id = j.id) AS attempt_count,
  j.attempts_used, j.rescues, j.lone_rescues, j.progress, j.join_successes, j.join_live, j.join_until,
  j.taken_succeeded, j.taken_failed, j.taken_cancelled, j.error_code, j.error_message,
  j.input_tokens, j.cached_tokens, j.output_tokens, j.reasoning_tokens, j.cost_usd,
  j.id, j.tenant, j.parent_id, j.key, j.kind, j.queue, j.origin, j.created_at, j.status, j.is_collected
FROM jobs j LEFT JOIN leases l ON l.job_id = j.id;
