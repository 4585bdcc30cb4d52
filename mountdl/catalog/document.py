"""A descriptor file as the tree is made of it: where it lies, when it is from and what it says."""

from dataclasses import dataclass

from mountdl.catalog.kept import KeptFile
from mountdl.content import LARGEST
from mountdl.descriptors.model import Descriptor
from mountdl.errors import DescriptorError


@dataclass(frozen=True, slots=True)
class Document:
    """A descriptor file: *path* below the source, its date, and what it said (also set aside) or why it is refused.

    *mtime_ns* is the file's own, or what it said is its date where that is set aside.
    """

    path: str
    mtime_ns: int
    said: Descriptor | DescriptorError | KeptFile | tuple[KeptFile, ...]

    @property
    def folder(self) -> str:
        """The folder that it is in, "" for the source itself."""
        return self.path.rpartition("/")[0]

    @property
    def name(self) -> str:
        """Its name there."""
        return self.path.rpartition("/")[2]


def date_of(said: Descriptor, mtime_ns: int) -> int:
    """Return the date of what a descriptor *said*: its own, else that of its file, *mtime_ns*."""
    found = next((value for value in (said.updated_ns, said.published_ns) if value is not None), mtime_ns)
    return max(0, min(found, LARGEST))
