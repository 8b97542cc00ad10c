"""The job view, under the name that the API's modules know; it stands in the engine, which sends it in webhooks too.
And the page of a list of jobs.
"""

from forebay.api.paging import Page
from forebay.engine.views import (
    AttemptView,
    ErrorView,
    JobSummary,
    JobView,
    ResultView,
    UsageView,
    shown_target,
    summary_of,
    view_of,
)

__all__ = [
    "AttemptView",
    "ErrorView",
    "JobList",
    "JobSummary",
    "JobView",
    "ResultView",
    "UsageView",
    "shown_target",
    "summary_of",
    "view_of",
]


class JobList(Page[JobSummary], kw_only=True):
    """A page of jobs."""
