"""Names of queues. A queue is one target's lane, or one route; kinds that call no target have queues of their own."""

CONTROL = "control"
ROUTE_PREFIX = "route:"


def target_queue(target: str) -> str:
    return f"target:{target}"


def route_queue(route: str) -> str:
    return ROUTE_PREFIX + route


def notify_queue(endpoint: str) -> str:
    return f"notify:{endpoint}"
