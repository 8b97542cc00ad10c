"""The verb ``prune``: bounded, so that a batch of a million dead lines goes in many short transactions."""

from typing import NamedTuple

from forebay.domain.change import Pruned
from forebay.stores.postgres.deleting import below, delete_jobs
from forebay.stores.postgres.transaction import Tx


class Pruning(NamedTuple):
    """Which roots, and how many rows at most."""

    older_than: float
    limit: int


async def prune(tx: Tx, pruning: Pruning) -> Pruned:
    """Deletes descendants before their root; a root goes when nothing is left below it."""
    roots = [row[0] for row in await tx.run("prune.ended", pruning.older_than, pruning.limit)]
    rest = pruning.limit
    parents = {row[0] for row in await tx.bulk("prune.parents", roots)}
    gone = [root for root in roots if root not in parents]  # most: one question for all of them, and not one each
    for root in roots:
        if root not in parents:
            continue
        descendants = await below(tx, [root], rest + 1)
        # the deepest last, and so cut from the end: what is left stays connected to its root
        await delete_jobs(tx, descendants if len(descendants) <= rest else descendants[-rest:])
        if len(descendants) > rest:
            break
        rest -= len(descendants)
        gone.append(root)
        if rest <= 0:
            break
    await delete_jobs(tx, gone)
    await tx.run("prune.ranks")
    return Pruned(jobs=len(gone), is_complete=len(gone) == len(roots) < pruning.limit)
