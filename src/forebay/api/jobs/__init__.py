"""``/v1/jobs``: requests and orders, one by one and in bulk, lists, events and dead letters."""
