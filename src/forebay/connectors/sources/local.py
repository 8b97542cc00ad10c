"""Files of this machine by path, wildcard or folder."""

import glob
from pathlib import Path

from forebay.connectors.sources.found import Named
from forebay.domain.errors import RequestError
from forebay.domain.pipeline import SOURCE_FAILED


def find_local(pattern: str, folder: str) -> list[Named]:
    """The files that a path means, in the order of their names. Hidden ones below a folder or a wildcard are left out.

    Raises: RequestError: there is none.
    """
    base = Path(folder)
    path = base / pattern
    is_folder = path.is_dir()
    if is_folder:
        found = [one for one in path.rglob("*") if not _is_hidden(one.relative_to(path))]
    elif path.exists() or not glob.has_magic(pattern):
        return [Named(shown=pattern, path=path)]
    else:
        found = [Path(one) for one in glob.iglob(str(base / pattern), recursive=True)]
    files = sorted(one for one in found if one.is_file())
    if not files:
        raise RequestError(f"{pattern!r} matches no file", code=SOURCE_FAILED)
    root = path if is_folder else None
    return [
        Named(shown=_shown(one, base, pattern), path=one, root=None if root is None else _name(one, root))
        for one in files
    ]


def _shown(path: Path, base: Path, pattern: str) -> str:
    """As the pattern would have named it: relative where that was."""
    if Path(pattern).is_absolute() or not path.is_relative_to(base):
        return str(path)
    return path.relative_to(base).as_posix()


def _name(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)
