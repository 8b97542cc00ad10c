"""What a run is asked for: the options of `forebay run`, with every file that they name already read."""

from forebay.domain.errors import ConfigurationError
from forebay.domain.record import Record
from forebay.policy.requests import RequestOptions

DEFAULT_MAX_ATTEMPTS = 5


class RunOptions(Record, frozen=True, kw_only=True):
    """One run."""

    output: str
    request: RequestOptions = RequestOptions()
    target: str | None = None
    base_url: str | None = None
    api_key: str | None = None  # of base_url
    concurrency: int | None = None
    max_attempts: int = DEFAULT_MAX_ATTEMPTS
    limit: int | None = None
    is_full: bool = False  # response, usage, cost and attempts beside the output
    retry_failed: bool = False
    is_fresh: bool = False
    budget_usd: float | None = None
    name: str | None = None  # under which earlier results are found; None: the output's path
    state: str | None = None  # the file that a store without configuration stands beside; None: the output
    detach: bool = False
    unreachable_seconds: float = 60.0  # after so long without any contact the run stops

    def __post_init__(self) -> None:
        """Raises: ConfigurationError: options that exclude each other."""
        request = self.request
        if request.prompt is not None and request.body is not None:
            raise ConfigurationError("--prompt and --body exclude each other")
        if request.system is not None and request.prompt is None:
            raise ConfigurationError("--system needs --prompt; with --body write it into the body")
        if self.target is not None and self.base_url is not None:
            raise ConfigurationError("--target and --base-url exclude each other")
        for value, option in ((self.concurrency, "--concurrency"), (self.max_attempts, "--max-attempts")):
            if value is not None and value < 1:
                raise ConfigurationError(f"{option} must be at least 1")
        if self.limit is not None and self.limit < 0:
            raise ConfigurationError("--limit must not be negative")
        if self.budget_usd is not None and self.budget_usd < 0:
            raise ConfigurationError("--budget-usd must not be negative")
