"""Every Protocol between the floors. The conformance suites in ``forebay.testing.conformance`` specify them."""

from forebay.domain.content import BlobInfo
from forebay.domain.limit import Grant, Rate
from forebay.ports.places import BlobStore, Notifier, SlowTarget, StreamSink, Tables, Target
from forebay.ports.sources import DataSources, QuerySource, VectorIndex
from forebay.ports.stores import Archive, Clock, JobStore, LimitStore, RecordStore, StoreFacts, Watch

__all__ = [
    "Archive",
    "BlobInfo",
    "BlobStore",
    "Clock",
    "DataSources",
    "Grant",
    "JobStore",
    "LimitStore",
    "Notifier",
    "QuerySource",
    "Rate",
    "RecordStore",
    "SlowTarget",
    "StoreFacts",
    "StreamSink",
    "Tables",
    "Target",
    "VectorIndex",
    "Watch",
]
