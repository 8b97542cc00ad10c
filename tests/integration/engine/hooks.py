"""An engine with a notifier that reaches nobody, and endpoints as the API registers them."""

import base64
from dataclasses import replace

from forebay.domain.job import Job
from forebay.domain.query import JobQuery, Parts
from forebay.domain.stored import StoredRecord
from forebay.domain.webhook import (
    ENDPOINT,
    NOTIFY,
    ConfiguredEndpoint,
    EndpointData,
    encoded,
)
from forebay.engine.notices import Notices
from forebay.engine.services import Services
from forebay.testing.notifiers import ScriptedNotifier
from forebay.testing.targets import ScriptedTarget

from .conftest import Engine, OpenEngine

URL = "https://hook.example/x"
DAY = 86_400.0


def with_notifier(engine: Engine, receiver: ScriptedNotifier) -> Engine:
    fields = {name: getattr(engine.services, name) for name in Services.__dataclass_fields__}
    return Engine(Services(**{**fields, "notifier": receiver}), engine.clock)


async def open_with(open_engine: OpenEngine, receiver: ScriptedNotifier, *targets: ScriptedTarget) -> Engine:
    return with_notifier(await open_engine(*(targets or (ScriptedTarget("t"),))), receiver)


async def register(engine: Engine, *events: str, name: str = "we_1", url: str = URL, tenant: str = "default") -> None:
    """What the API does."""
    now = engine.clock.now()
    data = EndpointData(name=name, url=url, events=events or ("*",), updated_at=now)
    record = StoredRecord(kind=ENDPOINT, id=name, tenant=tenant, data=encoded(data), created_at=now)
    await engine.services.records.put(record)
    engine.services.notices.forget(tenant)


async def deliveries(engine: Engine) -> list[Job]:
    query = JobQuery(tenant=None, kinds=frozenset({NOTIFY}), limit=1000, is_ascending=True, parts=Parts(attempts=True))
    return await engine.services.jobs.find(query)


async def run(engine: Engine) -> None:
    """Runs what is due, in a worker that is there for so long."""
    worker = await engine.worker()
    await engine.services.jobs.recover()
    await worker.run_until_idle()
    await engine.services.jobs.retire(worker.worker)


def configured(engine: Engine, *events: str) -> Engine:
    """The engine of an installation whose configuration names an address."""
    secret = "whsec_" + base64.b64encode(b"a secret of the configuration").decode()
    hook = ConfiguredEndpoint(id="config_1", url=URL, secret=secret, events=events)
    notices = Notices(engine.services.records, engine.clock, [hook])
    return Engine(replace(engine.services, notices=notices, webhooks={hook.id: hook}), engine.clock)
