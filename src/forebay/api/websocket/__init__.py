"""``/v1/ws``: the socket on which jobs are submitted, watched and pushed."""
