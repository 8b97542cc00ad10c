"""The suites that a back end's test module subclasses; see the package."""

from forebay.testing.conformance.adding import Adding
from forebay.testing.conformance.applying import Answers, Outbox, Spawning
from forebay.testing.conformance.archiving import ArchiveSuite
from forebay.testing.conformance.attempts import Fences, LateAnswers, Ledger
from forebay.testing.conformance.blobs import BlobStoreSuite
from forebay.testing.conformance.cancelling import CancellingGroups, CancellingLeaves
from forebay.testing.conformance.claiming import Capping, Claiming, Waiting
from forebay.testing.conformance.collecting import Collecting, Segments
from forebay.testing.conformance.durable import DurableStoreSuite
from forebay.testing.conformance.expiring import Expiring, ExpiringGroups
from forebay.testing.conformance.finding import Finding, Tenants
from forebay.testing.conformance.hastening import Hastening
from forebay.testing.conformance.joining import Joining, Settling
from forebay.testing.conformance.limits import LimitStoreSuite
from forebay.testing.conformance.pruning import Pruning, References
from forebay.testing.conformance.records import RecordStoreSuite
from forebay.testing.conformance.recovering import Heartbeats, Retiring, Sweeping, Zombies
from forebay.testing.conformance.repeating import Repeating
from forebay.testing.conformance.retrying import Erasing, Retrying
from forebay.testing.conformance.streams import Streams
from forebay.testing.conformance.suspects import Suspects
from forebay.testing.conformance.watching import Watching

__all__ = [
    "ArchiveSuite",
    "BlobStoreSuite",
    "DurableStoreSuite",
    "JobStoreSuite",
    "LimitStoreSuite",
    "RecordStoreSuite",
]


class JobStoreSuite(
    Adding,
    Claiming,
    Capping,
    Waiting,
    Fences,
    Ledger,
    LateAnswers,
    Repeating,
    Answers,
    Spawning,
    Outbox,
    Joining,
    Settling,
    Collecting,
    Segments,
    CancellingLeaves,
    CancellingGroups,
    Expiring,
    ExpiringGroups,
    Hastening,
    Retrying,
    Erasing,
    Heartbeats,
    Zombies,
    Retiring,
    Sweeping,
    Suspects,
    Pruning,
    References,
    Streams,
    Watching,
    Finding,
    Tenants,
):
    """The whole specification of JobStore."""
