"""Which handler serves which kind of job: the one place where a new kind is entered."""

import asyncio
from collections.abc import Mapping

from forebay.domain.answer import Answer
from forebay.domain.batch import BATCH_KINDS
from forebay.domain.fanout import FANOUT
from forebay.domain.job import Job
from forebay.domain.pipeline import INFERENCE, PIPELINE, STEP
from forebay.domain.webhook import NOTIFY, SUBSCRIBE
from forebay.engine.context import Context, Handler
from forebay.engine.handlers.batch import handle_batch
from forebay.engine.handlers.erase import ERASE, handle_erase
from forebay.engine.handlers.fanout import handle_fanout
from forebay.engine.handlers.infer import InferHandler
from forebay.engine.handlers.inference import handle_inference
from forebay.engine.handlers.notify import NotifyHandler
from forebay.engine.handlers.pipeline import handle_pipeline
from forebay.engine.handlers.step import handle_step
from forebay.engine.handlers.subscribe import handle_subscribe
from forebay.engine.intake import INFER
from forebay.engine.lanes import Lanes
from forebay.engine.services import Services

BATCH_RUNS = 8  # each holds some thousands of lines in memory; other groups hold little


def make_handlers(services: Services, lanes: Lanes) -> Mapping[str, Handler]:
    """The built-in kinds."""
    return {
        INFER: InferHandler(services, lanes),
        INFERENCE: handle_inference,
        ERASE: handle_erase,
        FANOUT: handle_fanout,
        NOTIFY: NotifyHandler(lanes.couriers),
        PIPELINE: handle_pipeline,
        STEP: handle_step,
        SUBSCRIBE: handle_subscribe,
        **dict.fromkeys(BATCH_KINDS, _limited(handle_batch, BATCH_RUNS)),
    }


def _limited(handler: Handler, most: int) -> Handler:
    """The handler, of which no more than so many run at once in this process."""
    gate = asyncio.Semaphore(most)

    async def run(job: Job, context: Context) -> Answer:
        async with gate:
            return await handler(job, context)

    return run
