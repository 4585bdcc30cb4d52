"""Lists of addresses in aria2's input-file form, and shortcuts of desktops, to a descriptor. Pure.

A line is one file, its mirrors separated by tabs; lines that start with white space are options of the one
before, "#" starts a comment. Addresses may be patterns (`patterns`) unless "parameterized-uri=false". One option is not
aria2's: "default-name" is what a file is called where its server calls it nothing.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from mountdl.descriptors import links, linktext, magnet, names, patterns, urls, values
from mountdl.descriptors.cautions import Cautions, quoted
from mountdl.descriptors.limits import (
    MAX_EXPANDED_TEXT,
    MAX_GROUPS_LISTED,
    MAX_LINES,
    MAX_OPTIONS,
    MAX_URLS_KEPT,
)
from mountdl.descriptors.metalink import Files
from mountdl.descriptors.model import Descriptor, Entry, Magnet, MirrorRef, SwarmRef, UriGroup
from mountdl.errors import DescriptorError

_SHORTCUTS = {"[internetshortcut]": "url", "[desktop entry]": "url"}
_YES, _NO = "true", "false"
DEFAULT_NAME = "default-name"
FOLLOWED = frozenset(
    {"checksum", DEFAULT_NAME, "force-sequential", "max-connection-per-server", "out", "parameterized-uri"}
)
"""Options that mean something here; others of aria2's are only shown."""


def parse(data: bytes) -> Descriptor:
    """Return what the list in *data* names. Raises DescriptorError."""
    cautions = Cautions()
    return _described(_lines(linktext.decoded(data), cautions), cautions)


def is_shortcut(data: bytes) -> bool:
    """Say whether *data* starts like a shortcut of Windows or of a freedesktop.org desktop."""
    start = data[:256].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    return start.startswith(tuple(head.encode() for head in _SHORTCUTS))


def parse_shortcut(data: bytes) -> Descriptor:
    """Return the address in a ".url" or ".desktop" file. Raises DescriptorError."""
    wanted = ""
    for line in map(str.strip, linktext.lines(linktext.decoded(data))):
        if line.startswith("["):
            wanted = _SHORTCUTS.get(line.lower(), "")
            continue
        key, equals, value = line.partition("=")
        if wanted and equals and key.strip().lower() == wanted:
            return _described([_Line([value.strip()], {"parameterized-uri": [_NO]}, shown=False)], Cautions())
    raise DescriptorError("no-sources", "the shortcut has no address")


@dataclass(slots=True)
class _Line:
    """Addresses of a line as they stand and the options below it; lines count from 1."""

    addresses: list[str]
    options: dict[str, list[str]] = field(default_factory=dict)
    bad: list[str] = field(default_factory=list)
    shown: bool = True
    count: int = 0
    number: int = 1

    def option(self, name: str) -> str:
        return self.options.get(name, [""])[-1]


def _lines(text: str, cautions: Cautions) -> Iterator[_Line]:
    found: _Line | None = None
    for number, line in enumerate(linktext.lines(text), 1):
        if number > MAX_LINES:
            cautions.add("too-many-links", f"lines beyond the first {MAX_LINES} are left out")
            break
        if not line.strip() or line.startswith("#"):
            continue
        if line[0] not in " \t":
            if found is not None:
                yield found
            found = _Line([each for each in (part.strip() for part in line.split("\t")) if each], number=number)
        elif found is not None and not line.lstrip().startswith("#"):
            _take_option(found, line.strip())
    if found is not None:
        yield found


def _take_option(line: _Line, text: str) -> None:
    name, equals, value = text.partition("=")
    name = name.strip().lower()
    line.count += 1
    if line.count > MAX_OPTIONS:
        return
    if not equals or not name:
        line.bad.append(text)
    else:
        line.options.setdefault(name, []).append(value.strip())


def _described(lines: Iterable[_Line], cautions: Cautions) -> Descriptor:
    reader = _Reader(cautions)
    for line in lines:
        reader.take(line)
    if not reader.groups:
        raise DescriptorError("no-sources", "the file names no address that can be followed")
    return Descriptor(
        "urilist",
        reader.files.kept(),
        reader.cautions.kept(),
        magnets=tuple(reader.magnets),
        groups=tuple(reader.groups),
    )


@dataclass(slots=True)
class _Reader:
    """The files of a list as they come."""

    cautions: Cautions
    groups: list[UriGroup] = field(default_factory=list)
    magnets: list[Magnet] = field(default_factory=list)
    files: Files = field(init=False)
    _numbers: dict[str, int] = field(default_factory=dict)
    _room: int = field(init=False)
    _full: bool = False

    def __post_init__(self) -> None:
        self.files = Files(self.cautions)
        self._room = MAX_EXPANDED_TEXT

    def take(self, line: _Line) -> None:
        """Take the file or files of *line*, unless there are too many already."""
        if self._full:
            return
        for text in line.bad:
            self.cautions.add("bad-option", f"{quoted(text.partition('=')[0])} is no option")
        if line.count > MAX_OPTIONS:
            self.cautions.add("too-many-options", f"options of a file beyond {MAX_OPTIONS} are left out")
        files = self._files(line)
        if len(files) > 1 and line.options.pop("checksum", []):
            self.cautions.add("bad-hash", "one checksum can't be that of several files")
        for addresses in files:
            if len(self.groups) < MAX_GROUPS_LISTED:
                self._take_file(addresses, line)
            else:
                self._full = True
                self.cautions.add("too-many-links", f"files beyond the first {MAX_GROUPS_LISTED} are left out")
                return

    def _files(self, line: _Line) -> list[list[str]]:
        """Return the addresses of *line* with their patterns expanded, by the files that they are for."""
        if line.option("parameterized-uri") == _NO:
            return [line.addresses]
        try:
            expanded = [self._expanded(address) for address in line.addresses]
        except patterns.TooMany:
            self.cautions.add("too-many-urls", "a pattern stands for too many addresses")
            return []
        if line.option("force-sequential") == _YES:
            return [[address] for files in expanded for file in files for address in file]
        if line.option("out"):
            return [[address for files in expanded for file in files for address in file]]
        most = max(map(len, expanded), default=0)
        if any(len(files) != most for files in expanded):
            self.cautions.add("bad-pattern", "the addresses of a line stand for different numbers of files")
            expanded = [files for files in expanded if len(files) == most]
        return [[address for files in expanded for address in files[place]] for place in range(most)]

    def _expanded(self, address: str) -> list[list[str]]:
        """Return what *address* stands for, as long as all patterns of the list have room. Raises TooMany."""
        files = patterns.expanded(address, self._room)
        count = sum(map(len, files))
        if count > 1:
            self._room -= count * len(address)
        return files

    def _take_file(self, addresses: list[str], line: _Line) -> None:
        links_found = [each for each in addresses if each[:7].lower() == "magnet:"]
        if links_found:
            self._take_magnet(links_found[0], line)
            return
        found: list[str] = []
        metadata: tuple[SwarmRef, ...] = ()
        for address in addresses[:MAX_URLS_KEPT]:
            try:
                url, metalink = links.split(address)
            except urls.UrlRefused as refusal:
                self.cautions.add(refusal.code, f"line {line.number}: {refusal}")
                continue
            found.append(url)
            metadata = metadata or links.metadata(metalink)
        if len(addresses) > MAX_URLS_KEPT:
            self.cautions.add("too-many-urls", f"addresses of a file beyond {MAX_URLS_KEPT} are left out")
        if found:
            self._add_group(found, line)
            self._add_entry(self._entry(found, line, metadata))

    def _take_magnet(self, link: str, line: _Line) -> None:
        try:
            link = urls.printable(link)
            said = magnet.parse(link.encode())
        except magnet.MagnetError as problem:
            self.cautions.add(problem.kind, f"line {line.number}: {problem}")
            return
        except urls.UrlRefused as refusal:
            self.cautions.add(refusal.code, f"line {line.number}: {refusal}")
            return
        for caution in said.cautions:
            self.cautions.add(caution.code, caution.message)
        self._add_group([link], line)
        self.magnets += said.magnets
        for entry in said.entries:
            self._add_entry(entry)

    def _add_group(self, found: list[str], line: _Line) -> None:
        options = tuple((name, value) for name, given in line.options.items() for value in given)
        self.groups.append(UriGroup(tuple(found), options if line.shown else ()))

    def _entry(self, found: list[str], line: _Line, metadata: tuple[SwarmRef, ...]) -> Entry:
        limit = values.positive(line.option("max-connection-per-server"))
        # The order of a list says nothing of how good its mirrors are: all are equal.
        mirrors = tuple(MirrorRef(url, max_connections=limit) for url in dict.fromkeys(found))
        name = self._name(line, "out")
        return Entry(
            PurePosixPath(name or self._name(line, DEFAULT_NAME) or links.name_of(found[0])),
            digests=self._digests(line),
            mirrors=mirrors,
            swarms=metadata,
            named=name is not None,
        )

    def _name(self, line: _Line, option: str) -> str | None:
        """Return the name that *option* of *line* gives its file, None where it leaves that to others."""
        out = line.option(option)
        if not out or line.option("force-sequential") == _YES:
            return None
        fault = names.fault(out)
        if fault is None:
            return out
        self.cautions.add("unsafe-name", f"the name {quoted(out)} {fault}")
        return None

    def _digests(self, line: _Line) -> dict[str, bytes]:
        given = line.option("checksum")
        if not given:
            return {}
        kind, _, text = given.partition("=")
        algorithm = values.algorithm(kind)
        raw = None if algorithm is None else values.digest(algorithm, text)
        if algorithm is None or raw is None:
            self.cautions.add("bad-hash", "the checksum of a file is not one")
            return {}
        return {algorithm: raw}

    def _add_entry(self, entry: Entry) -> None:
        """Keep *entry*; where its name is taken, under the next free one of its kind."""
        name = wanted = str(entry.path)
        while not self.files.free(name) and not self.files.shadowed(name):
            number = self._numbers[wanted] = self._numbers.get(wanted, 1) + 1
            name = names.numbered(wanted, number)
        if name != wanted:
            self.cautions.add("duplicate-name", f"{quoted(wanted)} is there already, so another is {quoted(name)}")
        self.files.keep(name, replace(entry, path=PurePosixPath(name)))
