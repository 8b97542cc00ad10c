"""``/openapi.json``: every operation, described."""
