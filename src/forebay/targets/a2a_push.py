"""Push: an agent tells that a task went on, instead of being asked. The token names a job and can't be made up.

What an agent pushes is never a result: it makes the next question for the task come now. ``api/a2a`` takes it.
"""

import hmac

from forebay.secrets import Secrets
from forebay.targets.a2a_message import PushConfig

PUSH_PATH = "/v1/a2a/push"
_PURPOSE = "a2a-push"


class Pushes:
    """``public_url``: where agents reach this installation."""

    def __init__(self, public_url: str, secrets: Secrets) -> None:
        self._url = public_url.rstrip("/") + PUSH_PATH
        self._secrets = secrets

    def config_of(self, job_id: str) -> PushConfig:
        """What an agent is told with a message. Raises: RequestError, ConfigurationError: there is no secret."""
        return PushConfig(url=self._url, token=push_token(job_id, self._secrets))


def push_token(job_id: str, secrets: Secrets) -> str:
    """The job's token, the same on every machine of an installation."""
    return f"{job_id}.{secrets.derive(_PURPOSE, job_id, 1).hex()}"


def job_of(token: str, secrets: Secrets) -> str | None:
    """The job that a token is for; None: nobody was given it. Compared in constant time."""
    job_id = token.rpartition(".")[0]
    try:
        is_right = hmac.compare_digest(token, push_token(job_id, secrets))
    except TypeError:  # it is no ASCII
        return None
    return job_id if is_right else None
