"""Moving a stopped installation: one store's jobs, records and blobs into an archive, and that into an empty store."""

from forebay.transfer.exporting import export_store
from forebay.transfer.importing import import_store
from forebay.transfer.place import TransferPlace

__all__ = ["TransferPlace", "export_store", "import_store"]
