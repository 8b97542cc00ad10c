-- What workers have learned of a target's limits, told to each other; gone a few seconds after it was told last.

CREATE TABLE lessons (
  target text COLLATE "C" NOT NULL, teller text COLLATE "C" NOT NULL, lesson text NOT NULL,
  told_at double precision NOT NULL, until double precision NOT NULL,
  PRIMARY KEY (target, teller)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
