"""`mountdl fetch`: what is to be fetched where, from the command line and lists; then an exit status.

Law: a line of a list is one file with its mirrors, or one source like those of the command line.
"""

import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from mountdl.control import configuration, fetch_store, logs
from mountdl.control.fetch_report import Report
from mountdl.control.given import Given
from mountdl.control.text import quoted, shown
from mountdl.descriptors import SUFFIXES, linktext, names, parse, urls
from mountdl.descriptors.limits import MAX_LIST
from mountdl.errors import DescriptorError, ExitStatus, UsageError
from mountdl.settings import Settings, StoreSettings, is_remote

STORE = ".mountdl"
"""The folder below the target in which what is not whole waits to be gone on with."""


_FATAL = frozenset({"bad-hash", "unsafe-name"})
"""Cautions of a list for which a file would not be what, or where, its line says."""


@dataclass(frozen=True, slots=True)
class Order:
    """Files that *sources* and *documents* describe are to come below *directory*, *at_once* at a time.

    A source is what a mount takes; a document is the text of a list of one file.
    """

    sources: tuple[str, ...]
    documents: tuple[str, ...]
    directory: Path
    at_once: int


Fetch = Callable[[Settings, Order, Report], int]
"""Fetches an order and returns an exit status: that of the first failure. What went wrong is reported."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the command line says: *list_file* names sources too, "-" for standard input; *interval* is in seconds.

    With *out* the sources are mirrors of one file of that name.
    """

    sources: tuple[str, ...]
    list_file: str | None
    directory: Path
    at_once: int
    quiet: bool
    interval: float
    given: Sequence[Given]
    out: str | None = None


def run(wishes: Wishes, fetch: Fetch) -> int:
    """Fetch what *wishes* name. Raises UsageError before anything is fetched."""
    fetch_store.make_folder(wishes.directory)
    store = StoreSettings(wishes.directory.resolve() / STORE, option="--dir")
    found = configuration.settings("/", Path("/"), wishes.given)
    settings = replace(found, store=store, engine=replace(found.engine, background="off", lane_each=True))
    logs.set_up(settings.mount.log, settings.mount.log_level, system=False)
    report = Report(sys.stderr, quiet=wishes.quiet, interval=wishes.interval)
    try:
        order, faulty = _checked(_order(wishes), report)
        status = fetch(settings, order, report) if order.sources or order.documents else ExitStatus.OK
        return status or (ExitStatus.BAD_OPTION if faulty else ExitStatus.OK)
    finally:
        report.close()


def _order(wishes: Wishes) -> Order:
    if wishes.out is not None:
        return Order((), (_mirrored(wishes, wishes.out),), wishes.directory, wishes.at_once)
    named, documents = ([], []) if wishes.list_file is None else entries(_text(wishes.list_file))
    sources = tuple(configuration.located(source) for source in (*wishes.sources, *named))
    if not sources and not documents:
        raise UsageError("nothing to fetch; see mountdl fetch --help")
    return Order(sources, tuple(documents), wishes.directory, wishes.at_once)


def _checked(order: Order, report: Report) -> tuple[Order, bool]:
    """Return *order* without documents that can't be had as they say, and whether there were any; *report* is told."""
    from mountdl.descriptors.urilist import FOLLOWED

    good: list[str] = []
    ignored: set[str] = set()
    for document in order.documents:
        faults, named = faults_of(document)
        if faults:
            address = document.split("\n", 1)[0].split("\t", 1)[0].strip()
            report.remark(f"{urls.shown(address)}: {'; '.join(faults)}")
        else:
            good.append(document)
            ignored |= named - FOLLOWED
    if ignored and not report.quiet:
        report.remark(f"warning: options in the list that are not followed: {', '.join(sorted(ignored))}")
    return replace(order, documents=tuple(good)), len(good) < len(order.documents)


def faults_of(document: str) -> tuple[list[str], set[str]]:
    """Return what is wrong with the list of one file that *document* is, and the names of the options in it."""
    try:
        said = parse("list.uris", document.encode(errors="surrogateescape"))
    except DescriptorError as error:
        return [str(error)], set()
    faults = [caution.message for caution in said.cautions if caution.code in _FATAL]
    return faults, {name for group in said.groups for name, _ in group.options}


def _mirrored(wishes: Wishes, out: str) -> str:
    """Return the text of a list of one file, *out*, whose mirrors are the sources."""
    if wishes.list_file is not None:
        raise UsageError("--out: it names one file; in a list, out=NAME stands in a line below the addresses")
    if not wishes.sources:
        raise UsageError("nothing to fetch; see mountdl fetch --help")
    for source in wishes.sources:
        if not is_remote(source) or _leads_on(source):
            raise UsageError(f"--out: {shown(source)} is no address of a file; files of descriptors have their names")
    if fault := names.fault(out):
        raise UsageError(f"--out: the name {quoted(out)} {fault}")
    if any(set(word) & set("\t\r\n") for word in (out, *wishes.sources)):
        raise UsageError("--out: line breaks and tabs are not allowed, in addresses neither")
    return "\t".join(wishes.sources) + f"\n  out={out}\n  parameterized-uri=false\n"


def _text(name: str) -> str:
    try:
        with nullcontext(sys.stdin.buffer) if name == "-" else Path(name).open("rb") as file:
            data = file.read(MAX_LIST + 1)
    except FileNotFoundError as error:
        raise UsageError(f"--input-file: {shown(name)} does not exist", ExitStatus.NOT_FOUND) from error
    except OSError as error:
        raise UsageError(f"--input-file: {shown(name)} can't be read: {error.strerror}", ExitStatus.IO) from error
    try:
        return linktext.decoded(data)
    except DescriptorError as error:
        raise UsageError(f"--input-file: {shown(name)}: {error}", error.exit_status) from error


def entries(text: str) -> tuple[list[str], list[str]]:
    """Return the sources of a list in aria2's form, and the documents of its files: one each, options with it.

    A source is a path, a magnet link, or the address of a descriptor that stands alone in its line.
    """
    sources: list[str] = []
    documents: list[str] = []
    taking = False
    for line in linktext.lines(text):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if line[0] in " \t":
            if taking:
                documents[-1] += f"{line}\n"
            continue
        addresses = line.strip().split("\t")
        taking = is_remote(addresses[0]) and not (len(addresses) == 1 and _leads_on(addresses[0]))
        (documents if taking else sources).append(f"{line}\n" if taking else addresses[0])
    return sources, documents


def _leads_on(address: str) -> bool:
    if address.lower().startswith("magnet:") or "#!metalink3!" in address:
        return True
    try:
        return PurePosixPath(urlsplit(address).path).suffix.lower() in SUFFIXES
    except ValueError:
        return False
