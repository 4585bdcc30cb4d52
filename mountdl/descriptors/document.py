"""A metalink document of either version: the namespace of its root says which. Pure."""

from collections.abc import Mapping

from mountdl.descriptors import metalink3, metalink4, values, xmlreader
from mountdl.descriptors.cautions import Cautions
from mountdl.descriptors.metalink import Files
from mountdl.descriptors.model import Descriptor
from mountdl.descriptors.xmlreader import Node, Shape
from mountdl.errors import DescriptorError

_VERSION_3 = {f"{{{namespace}}}metalink": namespace for namespace in metalink3.NAMESPACES}


def parse(data: bytes, base: str | None) -> Descriptor:
    """Return what the metalink in *data* says; relative URLs are resolved against *base*.

    Raises DescriptorError of the kinds of `xmlreader.read`, and not-metalink, no-files and limits.
    """
    cautions = Cautions()
    files = Files(cautions)
    dialect = metalink4

    def choose(tag: str, attributes: Mapping[str, str]) -> Shape:
        nonlocal dialect
        if tag == metalink4.ROOT:
            return metalink4.SHAPE
        dialect = metalink3
        return metalink3.shape(_namespace(tag, attributes))

    def take(node: Node) -> None:
        files.take(node, lambda file, name: dialect.entry(file, name, base, cautions))

    root = xmlreader.read(data, choose, take)
    return dialect.descriptor(root, files.entries(), cautions)


def _namespace(tag: str, attributes: Mapping[str, str]) -> str:
    """Return the namespace of a version 3 root, "" for none. Raises DescriptorError "not-metalink"."""
    found = _VERSION_3.get(tag)
    if found is not None:
        return found
    # KGet and librepo write version 3 without a namespace; nothing else tells it from any other XML.
    if tag == "metalink" and values.stripped(attributes.get("version")) == "3.0":
        return ""
    raise DescriptorError("not-metalink", "the root of the document is not that of a metalink")
