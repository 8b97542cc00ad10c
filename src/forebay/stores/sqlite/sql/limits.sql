-- name: full_at
SELECT full_at, set_at FROM limits WHERE name = ?1;

-- name: set
INSERT INTO limits (name, full_at, set_at) VALUES (?1, ?2, ?3)
ON CONFLICT (name) DO UPDATE SET full_at = excluded.full_at, set_at = excluded.set_at;

-- name: spent
SELECT spent_usd FROM budgets WHERE name = ?1;

-- name: charge
INSERT INTO budgets (name, spent_usd) VALUES (?1, ?2)
ON CONFLICT (name) DO UPDATE SET spent_usd = spent_usd + excluded.spent_usd;

-- name: tell
INSERT INTO lessons (target, teller, lesson, told_at, until)
SELECT value->>0, value->>1, value->>2, ?2, ?3 FROM jsonb_each(?1) WHERE true
ON CONFLICT (target, teller) DO UPDATE SET lesson = excluded.lesson, told_at = excluded.told_at, until = excluded.until;

-- name: heard
-- What was told in the future was told before the clock was set back.
SELECT lesson, told_at FROM lessons
WHERE target IN (SELECT value FROM jsonb_each(?1)) AND told_at <= ?2 AND until > ?2 ORDER BY target, teller;

-- name: unlearn
-- A few rows: one for each target and worker of late.
DELETE FROM lessons WHERE until <= ?1 OR told_at > ?1;
