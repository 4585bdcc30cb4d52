"""The bytes on disk: sparse data files and what is known of them."""

from mountdl.store.glances import Glance, Space
from mountdl.store.store import Store
from mountdl.store.stored import Stored

__all__ = ["Glance", "Space", "Store", "Stored"]
