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
