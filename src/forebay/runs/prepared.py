"""A prepared run: where it asks, and every record in the workbook. Nothing was sent yet."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec

from forebay.domain.errors import ConfigurationError
from forebay.domain.ids import IdSource
from forebay.policy.requests import own_choice
from forebay.policy.schema import compile_schema
from forebay.runs.backend import RunOrder
from forebay.runs.inputs import STDIN, Input
from forebay.runs.interpret import Interpreter
from forebay.runs.options import RunOptions
from forebay.runs.outputs import check_form
from forebay.runs.place import Place
from forebay.runs.plan import Plan, make_plan, record_of
from forebay.runs.rows import Joiner
from forebay.runs.site import Site
from forebay.runs.workbook import Workbook


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A run that was planned: nothing was sent yet."""

    options: RunOptions  # with endpoint and model chosen
    place: Place
    plan: Plan
    workbook: Workbook
    joiner: Joiner
    name: str

    @property
    def output(self) -> Path:
        return Path(self.options.output)

    def order(self) -> RunOrder:
        """What its batch is made with."""
        options, request = self.options, self.options.request
        return RunOrder(
            key=f"run:{uuid4().hex}",
            metadata={},
            endpoint=self.place.endpoint,
            target=self.place.target,
            model=self.place.model,
            schema=request.schema,
            max_attempts=options.max_attempts,
            budget_usd=options.budget_usd,
        )

    def interpreter(self) -> Interpreter:
        """What reads its batches' lines."""
        schema = self.options.request.schema
        compiled = None if schema is None else compile_schema(schema)
        return Interpreter(self.plan.shape, compiled, is_full=self.options.is_full)


def prepare(source: Input, options: RunOptions, site: Site, workbook: Workbook) -> Prepared:
    """Chooses where to ask and enters every record into the workbook. Blocking: call it in a thread.

    Raises: ConfigurationError: options, input or output are wrong; the message says what.
    """
    output = Path(options.output)
    check_form(output)
    if source.path is not None and output.exists() and output.samefile(source.path):
        raise ConfigurationError(f"{options.output!r} is the input itself; name another output")
    first, source = _peek(source)
    names_model, endpoint = own_choice(options.request, first)
    asked = msgspec.structs.replace(options.request, endpoint=endpoint)
    options = msgspec.structs.replace(options, request=asked)
    place = site.choose(options, names_models=names_model)
    asked = msgspec.structs.replace(asked, endpoint=place.endpoint, model=place.model)
    options = msgspec.structs.replace(options, request=asked)
    plan = make_plan(source, workbook, asked, place=place.identity, limit=options.limit)
    return Prepared(
        options=options,
        place=place,
        plan=plan,
        workbook=workbook,
        joiner=Joiner(plan.shape, plan.columns, is_full=options.is_full),
        name=_name(options, source),
    )


def _peek(source: Input) -> tuple[dict[str, Any], Input]:
    """The first record (empty if there is none), and the input with it still in front."""
    records = source.records()
    first = next(records, None)
    if first is None:
        return {}, _reading(source, iter(()))
    return record_of(first, 0), _reading(source, chain([first], records))


def _reading(source: Input, records: Iterator[bytes]) -> Input:
    return replace(source, records=lambda: records)


def _name(options: RunOptions, source: Input) -> str:
    """Under which the run's batches are found: the output's path, whatever the working directory."""
    if options.name is not None:
        return f"name:{options.name}"
    if source.name == STDIN and options.state is None:
        return IdSource().new("run")  # without a name nobody can say that it is the same run
    path = str(Path(options.state or options.output).resolve())
    return f"output:{hashlib.blake2b(path.encode(), digest_size=16).hexdigest()}"
