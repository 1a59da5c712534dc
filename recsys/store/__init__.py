"""Where runs stand and how they are published: layout and pointer, the lease, stages that seal their folder."""

from recsys.store.files import sha256_of, sync_folder, sync_tree, write_whole
from recsys.store.layout import (
    MANIFEST,
    REFUSED,
    TABLES,
    BrokenPointer,
    Pointer,
    Store,
    folder_of,
    run_date_of,
    run_id_of,
)
from recsys.store.lease import LeaseLost
from recsys.store.remote import open_store
from recsys.store.stages import PARTIAL, sealed_stage, write_record

__all__ = [
    "MANIFEST", "PARTIAL", "REFUSED", "TABLES", "BrokenPointer", "LeaseLost", "Pointer", "Store", "folder_of",
    "open_store", "run_date_of", "run_id_of", "sealed_stage", "sha256_of", "sync_folder", "sync_tree", "write_record",
    "write_whole",
]  # fmt: skip
