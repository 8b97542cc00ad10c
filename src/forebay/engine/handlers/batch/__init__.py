"""Kind ``batch``: a file of requests as a sliding window of children. ``handle_batch`` is its Handler."""

from forebay.engine.handlers.batch.creation import BatchOrder, make_batch, put_file, retry_input
from forebay.engine.handlers.batch.handler import handle_batch

__all__ = ["BatchOrder", "handle_batch", "make_batch", "put_file", "retry_input"]
