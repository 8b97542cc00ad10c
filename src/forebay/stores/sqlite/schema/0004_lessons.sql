-- What workers have learned of a target's limits, told to each other; gone a few seconds after it was told last.

CREATE TABLE lessons (
  target TEXT NOT NULL, teller TEXT NOT NULL, lesson TEXT NOT NULL, told_at REAL NOT NULL, until REAL NOT NULL,
  PRIMARY KEY (target, teller)
) WITHOUT ROWID;
