"""Which handler serves which kind of job: the one place where a new kind is entered."""

from collections.abc import Mapping

from forebay.domain.batch import BATCH_KINDS
from forebay.domain.fanout import FANOUT
from forebay.domain.webhook import NOTIFY, SUBSCRIBE
from forebay.engine.context import Handler
from forebay.engine.handlers.batch import handle_batch
from forebay.engine.handlers.erase import ERASE, handle_erase
from forebay.engine.handlers.fanout import handle_fanout
from forebay.engine.handlers.infer import InferHandler
from forebay.engine.handlers.notify import NotifyHandler
from forebay.engine.handlers.subscribe import handle_subscribe
from forebay.engine.intake import INFER
from forebay.engine.lanes import Lanes
from forebay.engine.services import Services


def make_handlers(services: Services, lanes: Lanes) -> Mapping[str, Handler]:
    """The built-in kinds."""
    return {
        INFER: InferHandler(services, lanes),
        ERASE: handle_erase,
        FANOUT: handle_fanout,
        NOTIFY: NotifyHandler(lanes.couriers),
        SUBSCRIBE: handle_subscribe,
        **dict.fromkeys(BATCH_KINDS, handle_batch),
    }
