"""Read XML of strangers as a stream, keeping only what a shape asks for.

Law: no DTD, hence no entity; no network; depth, size and what is kept are bounded before they are held.
Only direct children in the right namespace count, everything else is passed over with its subtree. The
text of an element is its own character data, over comments and CDATA. lxml is used only here.

The target interface, not a tree or XMLPullParser's events: no node is ever built, so memory does not
depend on how many elements a document has (a tree of a million piece hashes takes 450 MB, this 60 MB),
at 30 against 13 us for a document of 2 KB.
"""

import codecs
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import cast

from lxml import etree

from mountdl.descriptors.cautions import printable
from mountdl.descriptors.limits import MAX_ATTRIBUTES, MAX_DEPTH, MAX_DOCUMENT, MAX_ELEMENTS, MAX_REPEATS, MAX_TEXT
from mountdl.descriptors.pieces import PieceCollector
from mountdl.errors import DescriptorError

_FED_AT_ONCE = 1 << 16

# Codes of libxml2's xmlParserErrors that only a bare & gives; that of "& " it gives for a bare < too.
_AMPERSAND = {23, 26}


@dataclass(frozen=True, slots=True)
class Shape:
    """What is kept of an element.

    *children* by tag ("{namespace}name"); an element without any keeps its text, up to *text_limit*
    characters. At most *most* in one parent are kept. *emitted* elements go to the reader's callback at
    their end instead of into their parent. *pieces* makes the element gather hashes: "plain" or "indexed".
    """

    name: str
    children: Mapping[str, "Shape"] = field(default_factory=dict)
    text_limit: int = MAX_TEXT
    most: int = MAX_REPEATS
    emitted: bool = False
    pieces: str | None = None


class Node:
    """What was kept of an element. *text* is None when it was longer than the shape allows."""

    __slots__ = ("attributes", "children", "dropped", "pieces", "shape", "text")

    def __init__(self, shape: Shape, attributes: Mapping[str, str]) -> None:
        self.shape = shape
        self.attributes = attributes
        self.text: str | None = ""
        self.children: dict[str, list[Node]] = {}
        self.dropped = 0
        self.pieces: PieceCollector | None = None

    def all(self, name: str) -> list["Node"]:
        """Return the children called *name*, in the document's order."""
        return self.children.get(name, _NONE)


_NONE: list[Node] = []

Root = Callable[[str, Mapping[str, str]], Shape]
"""Tells from the root's tag and attributes what shape the document has, or raises DescriptorError."""


def read(data: bytes, root: Root, emit: Callable[[Node], None]) -> Node:
    """Return the root of the document in *data*; call *emit* with each emitted element at its end.

    Raises DescriptorError of kinds empty, too-large, limits, unsupported-encoding, forbidden-dtd, too-deep and
    not-well-formed, and what *root* and *emit* raise.
    """
    if len(data) > MAX_DOCUMENT:
        raise DescriptorError("too-large", f"the document has more than {MAX_DOCUMENT} bytes")
    if not data.strip() or data == codecs.BOM_UTF8:
        raise DescriptorError("empty", "the document is empty")
    target, parser = _pairs.take()
    target.begin(root, emit)
    try:
        for block in _bounded(_utf8_blocks(data)):
            parser.feed(block)
            _check_prefixes(parser)
        parser.close()
        _check_prefixes(parser)
    except etree.XMLSyntaxError as problem:
        raise _not_well_formed(problem) from None
    found = target.root
    assert found is not None  # noqa: S101 - a well-formed document has a root
    if len(data) <= _FED_AT_ONCE:
        _pairs.give_back(target, parser)
    return found


class _Pairs(threading.local):
    """A thread's own parser with its target, for one document after the other.

    A new pair costs 23 of the 105 us that a document of 2 KB takes, most of it in lxml's asking for the target's
    signature, and is a circle that only the garbage collector takes away. One that failed or read much is not kept.
    """

    def __init__(self) -> None:
        self._idle: tuple[_Target, etree.XMLParser] | None = None

    def take(self) -> "tuple[_Target, etree.XMLParser]":
        """Return a pair that nobody else uses."""
        pair, self._idle = self._idle, None
        return pair or _pair()

    def give_back(self, target: "_Target", parser: etree.XMLParser) -> None:
        """Keep a pair that read a document to its end; of the document it keeps nothing."""
        target.begin(_never, _ignore)
        self._idle = target, parser


def _pair() -> "tuple[_Target, etree.XMLParser]":
    target = _Target()
    return target, etree.XMLParser(
        # The stubs ask for handlers of comments too; without one lxml passes over them, as wanted.
        target=cast("etree.ParserTarget", target),
        encoding="utf-8",
        load_dtd=False,
        no_network=True,
        # Not False: then libxml2 hands over attributes with each & still written "&#38;". No entity but XML's
        # own five can exist, for a DOCTYPE ends the reading.
        resolve_entities="internal",  # type: ignore[arg-type]  # the stubs are older than lxml 5
        # Lifts libxml2's own limits (10 MB of one text): ours are stricter where they matter.
        huge_tree=True,
    )


_pairs = _Pairs()


def _never(_tag: str, _attributes: Mapping[str, str]) -> Shape:
    raise AssertionError


def _ignore(_node: Node) -> None:
    """Between two documents nothing is emitted."""


def _bounded(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield *blocks* as long as no element has too many attributes.

    lxml tells of an element when it has built a dictionary of them all: a million take 300 MB. No attribute
    can hold a "<", so the equals signs since the last one bound their number.
    """
    count = 0
    for block in blocks:
        last = block.rfind(b"<")
        count = block.count(b"=", max(last, 0)) + (count if last < 0 else 0)
        if count > MAX_ATTRIBUTES:
            raise DescriptorError("limits", f"an element has more than {MAX_ATTRIBUTES} attributes")
        yield block


def _check_prefixes(parser: etree.XMLParser) -> None:
    # libxml2 goes on after a prefix that nothing declares and drops it, so that <a:url> reads as <url>.
    # Asked after each block, for the log grows with every such name.
    for entry in parser.feed_error_log:
        if entry.domain == etree.ErrorDomains.NAMESPACE and entry.type == etree.ErrorTypes.NS_ERR_UNDEFINED_NAMESPACE:
            where = f"line {entry.line}, column {entry.column}"
            raise DescriptorError("not-well-formed", f"not well-formed XML: undeclared namespace prefix, {where}")


def _not_well_formed(problem: etree.XMLSyntaxError) -> DescriptorError:
    # libxml2 quotes the document, which may hold what would command a terminal.
    message = printable(" ".join((problem.msg or "syntax error").split()))
    if getattr(problem, "code", None) in _AMPERSAND or "EntityRef" in message:
        message += " (an & in a URL must be written as &amp;)"
    return DescriptorError("not-well-formed", f"not well-formed XML: {message}")


class _Target:
    """What lxml calls for each event."""

    def __init__(self) -> None:
        self.begin(_never, _ignore)

    def begin(self, root: Root, emit: Callable[[Node], None]) -> None:
        """Be ready for another document."""
        self.root: Node | None = None
        self._choose_root = root
        self._emit = emit
        self._open: list[Node] = []
        self._skipped = 0  # open elements of a subtree that is passed over
        self._parts: list[str] | None = None  # text of the innermost kept element, if it is wanted
        self._room = 0
        self._left = MAX_ELEMENTS

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        self._left -= 1
        if self._left < 0:
            raise DescriptorError("limits", f"the document has more than {MAX_ELEMENTS} elements")
        if self._skipped or len(self._open) >= MAX_DEPTH:
            self._skip()
            return
        if not self._open:
            self.root = Node(self._choose_root(tag, attributes), attributes)
            self._open.append(self.root)
            return
        parent = self._open[-1]
        shape = parent.shape.children.get(tag)
        if shape is None:
            self._skip()
            return
        node = Node(shape, attributes)
        if shape.pieces is not None:
            node.pieces = PieceCollector(attributes, indexed=shape.pieces == "indexed")
        if not shape.children:
            self._parts = []
            self._room = shape.text_limit
        self._open.append(node)

    def _skip(self) -> None:
        self._skipped += 1
        if len(self._open) + self._skipped > MAX_DEPTH:
            raise DescriptorError("too-deep", f"the document nests more than {MAX_DEPTH} elements")

    def data(self, text: str) -> None:
        if self._parts is None or self._skipped:
            return
        self._room -= len(text)
        if self._room >= 0:
            self._parts.append(text)

    def end(self, _tag: str) -> None:
        if self._skipped:
            self._skipped -= 1
            return
        node = self._open.pop()
        if self._parts is not None:
            node.text = "".join(self._parts) if self._room >= 0 else None
            self._parts = None
        if not self._open:
            return
        parent = self._open[-1]
        if node.shape.emitted:
            self._emit(node)
        elif parent.pieces is not None:
            parent.pieces.add(node.text, node.attributes)
        else:
            self._keep(parent, node)

    def _keep(self, parent: Node, node: Node) -> None:
        siblings = parent.children.setdefault(node.shape.name, [])
        if len(siblings) < node.shape.most:
            siblings.append(node)
        else:
            parent.dropped += 1

    def doctype(self, _name: str, _public: str | None, _system: str | None) -> None:
        # Called at the start of the declaration, before anything in it is taken.
        raise DescriptorError("forbidden-dtd", "the document has a DOCTYPE, which no metalink needs")

    def close(self) -> None:
        pass


_DECLARED = re.compile(rb"""<\?xml\s[^>]{0,200}?\bencoding\s*=\s*["']([^"'>]*)["']""")
_SINGLE_BYTE = re.compile(
    r"us-ascii|ascii|(?:iso-?|iso_)8859[-_]\d{1,2}|latin-?\d{1,2}|(?:windows|cp)-?125\d|(?:ibm|cp)-?(?:437|850|852|855|866)"
    r"|koi8-[ru]|mac-?roman|macintosh",
    re.ASCII,
)


def _utf8_blocks(data: bytes) -> Iterator[bytes]:
    """Yield *data* in UTF-8, a block at a time, whatever encoding it is in."""
    encoding = _encoding(data)
    if encoding is None:
        for start in range(0, len(data), _FED_AT_ONCE):
            yield data[start : start + _FED_AT_ONCE]
        return
    try:
        decoder = codecs.getincrementaldecoder(encoding)()
        for start in range(0, len(data), _FED_AT_ONCE):
            last = start + _FED_AT_ONCE >= len(data)
            yield decoder.decode(data[start : start + _FED_AT_ONCE], last).encode()
    except UnicodeError:
        raise DescriptorError("not-well-formed", f"not well-formed XML: the text is not {encoding}") from None


def _encoding(data: bytes) -> str | None:
    """Return the codec that *data* needs, None for UTF-8 (XML 1.0 appendix F)."""
    if data.startswith(codecs.BOM_UTF8):
        return None
    if data.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        raise DescriptorError("unsupported-encoding", "documents in UTF-32 are not read")
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if data.startswith((b"<\0", b"\0<")):
        return "utf-16-le" if data[0] else "utf-16-be"
    match = _DECLARED.match(data)
    name = match[1].decode("latin-1").lower() if match else "utf-8"
    if name in {"utf-8", "utf8"}:
        return None
    if name.startswith(("utf-16", "utf16", "ucs-2", "iso-10646-ucs-2")):
        raise DescriptorError("not-well-formed", "not well-formed XML: it declares an encoding that it is not in")
    try:
        if _SINGLE_BYTE.fullmatch(name):
            return codecs.lookup(name).name
    except LookupError:
        pass
    raise DescriptorError("unsupported-encoding", f"documents in encoding {name[:40]!r} are not read")
