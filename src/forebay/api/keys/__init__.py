"""API keys: their routes, their records, and the ring that knows callers by them."""
