"""The bytes on disk: sparse data files and what is known of them."""

from mountdl.store.store import Glance, Space, Store
from mountdl.store.stored import Stored

__all__ = ["Glance", "Space", "Store", "Stored"]
