"""What asking would come to: requests counted and priced, and none sent. For `forebay run` and pipelines, dry."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from forebay.domain.record import Record
from forebay.policy.requests import Request
from forebay.policy.usage import estimate_request

SHOWN_REQUESTS = 3
CostOf = Callable[[int, Request], float | None]


class Expectation(Record, frozen=True, kw_only=True):
    """A dry run: nothing was sent. Tokens are estimated by length; the output by the bound each request names."""

    records: int
    already_paid: int
    to_send: int
    refused: int  # records that can't be asked: they lack what the template names
    input_tokens: int
    output_tokens: int
    cost_usd: float | None  # at most, by list price; None: unknown
    requests: list[dict[str, Any]]  # the first three, rendered


class Estimating:
    """Sums up requests as they are rendered. ``cost_of``: the most that a request costs, by its place among those of
    one record.
    """

    def __init__(self, cost_of: CostOf) -> None:
        self._cost_of = cost_of
        self._count = 0
        self._tokens = 0, 0
        self._cost: float | None = 0.0
        self._shown: list[dict[str, Any]] = []

    def add(self, requests: Sequence[Request]) -> None:
        """The requests of one record, or of one call for several."""
        self._count += 1
        for place, request in enumerate(requests):
            estimate = estimate_request(request.body, request.endpoint)
            self._tokens = self._tokens[0] + estimate.input_tokens, self._tokens[1] + estimate.output_tokens
            price = self._cost_of(place, request)
            self._cost = None if self._cost is None or price is None else self._cost + price
            if len(self._shown) < SHOWN_REQUESTS:
                self._shown.append({"endpoint": request.endpoint, "body": msgspec.json.decode(request.body)})

    def expectation(self, *, records: int, already_paid: int, refused: int) -> Expectation:
        """What all that was added comes to."""
        return Expectation(
            records=records,
            already_paid=already_paid,
            to_send=self._count,
            refused=refused,
            input_tokens=self._tokens[0],
            output_tokens=self._tokens[1],
            cost_usd=self._cost,
            requests=self._shown,
        )
