-- name: full_at
-- Held until the commit.
SELECT full_at, set_at FROM limits WHERE name = $1 FOR UPDATE;

-- name: open
-- So that there is a row to hold.
INSERT INTO limits (name, full_at, set_at) VALUES ($1, $2, $2) ON CONFLICT DO NOTHING;

-- name: set
INSERT INTO limits (name, full_at, set_at) VALUES ($1, $2, $3)
ON CONFLICT (name) DO UPDATE SET full_at = excluded.full_at, set_at = excluded.set_at;

-- name: spent
SELECT spent_usd FROM budgets WHERE name = $1;

-- name: open_budget
INSERT INTO budgets (name, spent_usd) VALUES ($1, 0.0) ON CONFLICT DO NOTHING;

-- name: charge
-- Nothing is returned where the sum would pass its ceiling; a negative amount corrects, always.
UPDATE budgets SET spent_usd = spent_usd + $2::float8
WHERE name = $1 AND ($2::float8 < 0 OR spent_usd + $2::float8 <= $3::float8) RETURNING spent_usd;

-- name: tell
INSERT INTO lessons (target, teller, lesson, told_at, until)
SELECT q.target, q.teller, q.lesson, $4, $5 FROM unnest($1::text[], $2::text[], $3::text[]) AS q (target, teller, lesson)
ON CONFLICT (target, teller) DO UPDATE SET lesson = excluded.lesson, told_at = excluded.told_at, until = excluded.until;

-- name: heard
-- What was told in the future was told before the clock was set back.
SELECT lesson, told_at FROM lessons
WHERE target = ANY($1::text[]) AND told_at <= $2 AND until > $2 ORDER BY target, teller;

-- name: unlearn
-- A few rows: one for each target and worker of late. What another is just telling is left to the next.
DELETE FROM lessons WHERE ctid = ANY(ARRAY(
  SELECT ctid FROM lessons WHERE until <= $1 OR told_at > $1 FOR UPDATE SKIP LOCKED));
