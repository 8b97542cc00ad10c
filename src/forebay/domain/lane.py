"""Names of queues. A queue is one target's lane, or one route; kinds that call no target have queues of their own."""

CONTROL = "control"
STEPS = "steps"  # work of runs that takes this machine's processor
ROUTE_PREFIX = "route:"
TARGET_PREFIX = "target:"
NOTIFY_PREFIX = "notify:"


def target_queue(target: str) -> str:
    return TARGET_PREFIX + target


def target_of(queue: str) -> str | None:
    """The target whose own queue it is; None for routes and queues without one."""
    return queue.removeprefix(TARGET_PREFIX) if queue.startswith(TARGET_PREFIX) else None


def route_queue(route: str) -> str:
    return ROUTE_PREFIX + route


def notify_queue(endpoint: str) -> str:
    return NOTIFY_PREFIX + endpoint


def ready_topics(queue: str) -> tuple[str, ...]:
    """What a commit signals that made something claimable there. Nobody knows all the queues of deliveries: whoever
    serves them watches their prefix.
    """
    topic = f"ready:{queue}"
    return (topic, f"ready:{NOTIFY_PREFIX}") if queue.startswith(NOTIFY_PREFIX) else (topic,)
