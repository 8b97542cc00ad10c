-- When a row entered `later`: a pause that was written under a clock that has been set back since is cut to its length.

ALTER TABLE later ADD COLUMN entered_at REAL NOT NULL DEFAULT 0;
