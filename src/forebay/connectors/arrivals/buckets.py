"""Objects that appear in buckets: listed in pages, each from where the one before it ended."""

from collections.abc import AsyncIterator

import obstore

from forebay.connectors.objects import open_bucket, telling
from forebay.domain.arrival import Arrival
from forebay.domain.errors import RequestError
from forebay.domain.pipeline import SOURCE_FAILED
from forebay.policy.wildcards import fixed_folder, is_wild, key_expression

PAGE = 1000  # of S3's own listing


async def look(address: str) -> AsyncIterator[list[Arrival]]:
    """See Arrivals. An object is there when it is whole."""
    store, key = open_bucket(address)
    bucket, wanted = address.removesuffix(key), key_expression(key)
    prefix = fixed_folder(key) if is_wild(key) else key.rstrip("/").rpartition("/")[0] if not key.endswith("/") else key
    with telling(address, SOURCE_FAILED):
        async for page in obstore.list(store, prefix or None, chunk_size=PAGE):
            yield [
                Arrival(
                    path=bucket + one["path"],
                    place=bucket + one["path"],
                    bytes=one["size"],
                    version=one["e_tag"] or one["last_modified"].isoformat(),
                    is_whole=True,
                )
                for one in page
                if wanted.fullmatch(one["path"]) and not one["path"].endswith("/")
            ]


async def digest(arrival: Arrival) -> str | None:
    """What the store says of the content; None: it is another one, or gone."""
    store, key = open_bucket(arrival.place)
    try:
        with telling(arrival.place, SOURCE_FAILED):
            found = await obstore.head_async(store, key)
    except RequestError:
        return None
    version = found["e_tag"] or found["last_modified"].isoformat()
    return version if (version, found["size"]) == (arrival.version, arrival.bytes) else None
