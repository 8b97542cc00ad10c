"""Objects of a bucket by key, wildcard or prefix, copied into the workplace as they were when they were listed."""

import hashlib

import obstore

from forebay.connectors.objects import open_bucket, telling
from forebay.connectors.sources.found import Found, Named, copied
from forebay.connectors.workplace import Workplace
from forebay.domain.errors import RequestError
from forebay.domain.pipeline import SOURCE_FAILED
from forebay.policy.wildcards import fixed_folder, is_wild, key_expression

PIECE_BYTES = 4 * 1024 * 1024
MOST_OBJECTS = 100_000


def find_objects(address: str) -> list[Named]:
    """The objects that an address means, in the order of their keys. Raises: RequestError, TargetUnavailable."""
    store, key = open_bucket(address)
    bucket = address.removesuffix(key)
    with telling(address, SOURCE_FAILED):
        if is_wild(key):
            wanted = key_expression(key)
            listed = _listed(store, fixed_folder(key))
            return _all(bucket, [one for one in listed if wanted.fullmatch(one[0])], address, None)
        if key and not key.endswith("/"):
            found = obstore.head(store, key)
            return [Named(shown=address, address=address, tag=_tag(found))]
        prefix = key.rstrip("/")
        below = [one for one in _listed(store, prefix) if not _is_hidden(one[0].removeprefix(key))]
        return _all(bucket, below, address, key)


def copy_object(named: Named, place: Workplace) -> Found:
    """Copies an object; another version than the one that was listed is refused. Raises: RequestError."""
    store, key = open_bucket(named.address)
    path, digest = place.path("object"), hashlib.sha256()
    with telling(named.shown, SOURCE_FAILED), path.open("wb") as file:
        options = {"if_match": named.tag} if named.tag else {}
        got = obstore.get(store, key, options=options)  # type: ignore[arg-type]  # a TypedDict without our subset
        for piece in got.stream(min_chunk_size=PIECE_BYTES):
            place.stopper.check()
            digest.update(piece)
            file.write(piece)
    return copied(named, path, digest.hexdigest())


def _listed(store: "obstore.store.ObjectStore", prefix: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for page in obstore.list(store, prefix or None):
        found += [(one["path"], _tag(one)) for one in page]
        if len(found) > MOST_OBJECTS:
            raise RequestError(f"more than {MOST_OBJECTS} objects are listed: name fewer", code=SOURCE_FAILED)
    return found


def _all(bucket: str, objects: list[tuple[str, str]], address: str, root: str | None) -> list[Named]:
    if not objects:
        raise RequestError(f"{address!r} matches no object", code=SOURCE_FAILED)
    return [
        Named(shown=bucket + key, address=bucket + key, tag=tag, root=None if root is None else key.removeprefix(root))
        for key, tag in sorted(objects)
    ]


def _tag(found: object) -> str:
    return str(found.get("e_tag") or "") if isinstance(found, dict) else ""


def _is_hidden(key: str) -> bool:
    return any(part.startswith(".") for part in key.split("/"))
