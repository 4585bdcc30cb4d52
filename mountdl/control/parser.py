"""The command line as argparse sees it, built from the table of options. Reads nothing but the terminal's width."""

import argparse
import sys
from collections.abc import Callable, Collection, Iterable
from functools import cache
from typing import TYPE_CHECKING, NamedTuple, NoReturn, TypeVar

from mountdl import __version__
from mountdl.control import given, terminal, values
from mountdl.control.given import VALUED, Given
from mountdl.control.options import GROUPS, OPTIONS, Option
from mountdl.control.text import quoted
from mountdl.errors import UsageError

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

T = TypeVar("T")

_TOP = """\
Mount a folder of metalinks, torrents and magnet links, and read every file that
they describe before it is here.

examples:
  mountdl demo                     see it work, without the internet
  mountdl mount ~/metalinks ~/mnt  mount a folder; its files can be read at once
  mountdl status ~/mnt             what is here, what arrives, how fast
  mountdl unmount ~/mnt
  mountdl inspect film.meta4       what a metalink says

`mountdl COMMAND --help` tells more; the manual is mountdl(1).
"""
_MOUNT = """\
SOURCE is a folder, searched in all its subfolders for .metalink, .meta4,
.magnet, .torrent, .uris, .url and .desktop files; or one such file, the URL of
one or of any file, or a magnet link. The command returns once files can be
read, and says why when they can't be.

examples:
  mountdl mount ~/metalinks ~/mnt
  mountdl mount --background all --split 32 ~/metalinks ~/mnt
  mountdl mount -f --log-level debug disc.meta4 ~/mnt
  mountdl mount -o allow_other,cache-dir=/var/cache/mountdl /srv/links /mnt

Options may also stand in the environment (MOUNTDL_SPLIT=32) and in
~/.config/mountdl/config.toml (split = 32); the command line goes before the
environment, the environment before the file. Sizes and rates take K, M, G and
T: 16K is 16384. What is true or false is switched off by --enable-dht=false.
"""
WORDS = "-o"
OF_MOUNTS = frozenset({
    "foreground", "allow-other", "cache-dir", "cache-size", "graduate", "background", "read-timeout",
    "enable-rpc", "rpc-listen-port", "rpc-listen-all", "rpc-secret", "rpc-allow-origin-all",
})  # fmt: skip
"""Options that say nothing where there is no mount."""
CACHE_VERBS = ("list", "verify", "prune", "pin", "unpin", "export", "adopt")
_CACHE = """\
A WORD is a file in a mount, or a key as the list shows it, or the beginning of
one. What a mount has open is left alone.

  list               what is in the store, what was used last at the end
  verify [WORD...]   read it again; what is not sound is dropped, to be fetched
                     when it is wanted
  prune --size SIZE  drop what was not used for longest until SIZE is left; pins
                     stay
  prune --age DAYS   drop what was not used for so long
  prune WORD...      drop these
  pin WORD...        keep them, whatever room is wanted for others
  unpin WORD...      or no longer
  export WORD DEST   hand a finished file out, its digest checked, by reflink or
                     as a copy
  adopt FILE...      take local files and other programs' unfinished ones
                     (aria2, .part, .!qB) in, chunk by verified chunk; their
                     descriptors stand beside them, or --descriptor names them
"""
_FETCH = """\
A SOURCE is what mountdl mount takes: a folder of descriptors, one descriptor,
the URL of one or of any file, or a magnet link. A file stands below DIR, under
the name that it would have in a mount, once all of it is here and matched its
digests; nothing that is there already is replaced. What is not whole waits in
DIR/.mountdl, and the same command goes on with it. Names of finished files go
to standard output.

examples:
  mountdl fetch disc.meta4
  mountdl fetch -d ~/Downloads https://example.org/disc.iso film.torrent
  mountdl fetch -d ~/mirror -i addresses.txt
  mountdl fetch -o disc.iso https://a.example/disc.iso https://b.example/d.iso

A list has a line for each file: addresses of its mirrors, separated by tabs;
options as aria2 has them in the lines below, which begin with a blank:
out=NAME, checksum=sha-256=DIGEST. A line may also be a SOURCE.
"""
_CREATE = """\
Of a single file, a URL that does not end in a slash is that of the file; any
other is that of a folder, below which the files have their own paths.

examples:
  mountdl create --mirror https://mirror.example.org/pub/ disc.iso
  mountdl create -o all.meta4 --mirror https://mirror.example.org/ a.iso photos/
  mountdl create -o disc.torrent --piece-length 1M disc.iso
"""


SHELLS = ("bash", "zsh", "fish")
_COMPLETION = """\
Once, and again after an update:

  mountdl completion bash > ~/.local/share/bash-completion/completions/mountdl
  mountdl completion zsh > ~/.zfunc/_mountdl
  mountdl completion fish > ~/.config/fish/completions/mountdl.fish

The folders must be there. zsh wants `fpath+=~/.zfunc` before its compinit.
"""


class Parser(argparse.ArgumentParser):
    """An argparse parser that raises UsageError, and suggests what was meant."""

    def __init__(self, **settings: object) -> None:
        super().__init__(formatter_class=_Formatter, allow_abbrev=False, **settings)  # type: ignore[arg-type]

    def error(self, message: str) -> NoReturn:
        """Raise UsageError with *message*."""
        raise UsageError(f"{message}; see {self.prog} --help")

    def _print_message(self, message: str, file: "SupportsWrite[str] | None" = None) -> None:
        """Print help. argparse's own takes a full disk for success."""
        (sys.stdout if file is None else file).write(message)


class _Formatter(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30, width=_width())


@cache
def _width() -> int:
    """Return how wide help may be: as the terminal, up to what reads well; 80 where there is none."""
    return max(40, min(100, terminal.columns(sys.stdout)))


class _Give(argparse.Action):
    """Collects options in the order in which they came, so that a later one beats an earlier `-o`."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, found: object, shown: str | None = None
    ) -> None:
        del parser
        so_far: list[Given] = namespace.given
        if self.const is None:
            so_far.extend(given.from_words(str(found)))
        else:
            so_far.append(Given(str(self.const), "true" if found == [] else str(found), shown or ""))


def _fill_mount(parser: Parser) -> None:
    parser.usage = "mountdl mount [OPTION]... SOURCE MOUNTPOINT"
    parser.add_argument(
        "source", metavar="SOURCE", help="a folder of descriptors, one descriptor, or the URL of a descriptor or a file"
    )
    parser.add_argument("mountpoint", metavar="MOUNTPOINT", help="an empty directory")
    groups = _add_options(parser, OPTIONS)
    groups["mount"].add_argument(
        WORDS,
        action=_Give,
        dest="given",
        metavar="OPTION[=VALUE],...",
        help="the same options without dashes, for mount(8) and fstab(5), whose own words are ignored",
    )


def _add_options(parser: Parser, wanted: Iterable[Option]) -> "dict[str, argparse._ArgumentGroup]":
    """Add *wanted* to *parser*, in their groups, which are returned."""
    parser.set_defaults(given=[])
    parser.add_argument(VALUED, action=_Give, dest="given", help=argparse.SUPPRESS)
    groups: dict[str, argparse._ArgumentGroup] = {}
    for option in wanted:
        if option.group not in groups:
            groups[option.group] = parser.add_argument_group(GROUPS[option.group])
        add_option(groups[option.group], option)
    return groups


def _fill_fetch(parser: Parser) -> None:
    parser.usage = "mountdl fetch [OPTION]... SOURCE..."
    parser.add_argument("sources", metavar="SOURCE", nargs="*", default=[], help="what is to be fetched; see above")
    parser.add_argument("-d", "--dir", metavar="DIR", default=".", help="where files go (the folder this runs in)")
    parser.add_argument("-o", "--out", metavar="NAME", help="the one file that all SOURCEs are mirrors of, in DIR")
    parser.add_argument("-c", "--continue", action="store_true", help="taken for aria2's sake: it is always so")
    parser.add_argument("-i", "--input-file", metavar="FILE", help="a list of files and sources; - for standard input")
    parser.add_argument(
        "-j",
        "--max-concurrent-downloads",
        dest="at_once",
        metavar="N",
        type=_value(values.whole(1, 64), "--max-concurrent-downloads"),
        default=5,
        help="files that are fetched at a time (5)",
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="tell of failures only")
    parser.add_argument(
        "--summary-interval",
        dest="interval",
        metavar="SECONDS",
        type=_value(values.seconds(0, 86400), "--summary-interval"),
        default=60.0,
        help="tell so often how far it is, where standard error is no terminal; 0 for never (60)",
    )
    _add_options(parser, (option for option in OPTIONS if option.name not in OF_MOUNTS))


def add_option(group: "argparse._ArgumentGroup", option: Option) -> None:
    """Add *option* to *group*."""
    default = f" ({option.default})" if option.default else ""
    names = [f"-{option.short}"] if option.short else []
    group.add_argument(
        *names,
        f"--{option.name}",
        action=_Give,
        dest="given",
        const=option.name,
        nargs=0 if option.flag else None,
        metavar=option.metavar if not option.flag else None,
        help=f"{option.help}{default}".replace("%", "%%"),
    )


def _fill_unmount(parser: Parser) -> None:
    parser.add_argument("mountpoint", metavar="MOUNTPOINT")


def _fill_status(parser: Parser) -> None:
    parser.add_argument(
        "path", metavar="PATH", nargs="?", help="a mount, or a file or folder in one; all mounts without it"
    )
    parser.add_argument("--json", action="store_true", help="as a JSON document")
    parser.add_argument("--watch", action="store_true", help="again each second, until Ctrl-C")


def _fill_inspect(parser: Parser) -> None:
    parser.add_argument(
        "files", metavar="FILE", nargs="*", help="a descriptor, a magnet link, or a link URL#!metalink3!URL"
    )
    parser.add_argument("--headers", metavar="FILE", help="the raw head of an HTTP answer, to read as Metalink/HTTP")
    parser.add_argument("--url", metavar="URL", help="what --headers answers to")
    parser.add_argument("--json", action="store_true", help="as a JSON document")
    parser.add_argument("--base-url", metavar="URL", help="resolve relative URLs against this one")
    parser.add_argument("--location", metavar="CC[,CC]", help="countries whose mirrors come first")
    parser.add_argument("--language", metavar="L[,L]", help="show only files in these languages")


def _fill_why(parser: Parser) -> None:
    parser.add_argument("file", metavar="FILE", help="a file in a mount")
    parser.add_argument("--json", action="store_true", help="as a JSON document")


def _fill_wait(parser: Parser) -> None:
    parser.add_argument("file", metavar="FILE", help="a file in a mount")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--complete", action="store_const", dest="what", const="all", help="until it is whole (default)")
    what.add_argument(
        "--playable",
        action="store_const",
        dest="what",
        const="playable",
        help="until its first 4 MiB and last 1 MiB are here and the rest arrives at 1 MiB/s or more",
    )
    parser.set_defaults(what="all")
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=_value(values.seconds(0, 7 * 86400), "--timeout"),
        help="the longest time to wait",
    )


def _fill_demo(parser: Parser) -> None:
    parser.add_argument("mountpoint", metavar="MOUNTPOINT", nargs="?", help="where; a temporary one without it")


def _fill_completion(parser: Parser) -> None:
    parser.add_argument("shell", metavar="SHELL", choices=SHELLS, help=", ".join(SHELLS))


def _fill_cache(parser: Parser) -> None:
    parser.add_argument("verb", metavar="VERB", choices=CACHE_VERBS, help=", ".join(CACHE_VERBS))
    # A default, because argparse calls what has none required, though it may be empty.
    parser.add_argument(
        "words", metavar="WORD", nargs="*", default=[], help="a file in a mount or a content's key; see above"
    )
    parser.add_argument("--cache-dir", metavar="DIR", help="the store (the mount's of WORD; $XDG_CACHE_HOME/mountdl)")
    parser.add_argument(
        "--size", metavar="SIZE", type=_value(values.size, "--size"), help="prune: until no more than this is left"
    )
    parser.add_argument("--age", metavar="DAYS", type=_days, help="prune: what was not used for so many days")
    parser.add_argument(
        "--descriptor", metavar="FILE", action="append", default=[], help="adopt: what describes the files"
    )
    parser.add_argument("--json", action="store_true", help="as a JSON document")


def _value(read: Callable[[str], T], option: str) -> Callable[[str], T]:
    """Return what reads a value of *option*, and raises UsageError where *read* raises ValueError."""

    def checked(text: str) -> T:
        try:
            return read(text)
        except ValueError as error:
            raise UsageError(f"{option}: {quoted(text)} is not allowed; allowed is {error}") from error

    return checked


def _days(text: str) -> float:
    try:
        return values.seconds(0, 36500)(text)
    except ValueError as error:
        raise UsageError(f"--age: {quoted(text)} is not allowed; allowed is a number of days") from error


def _fill_create(parser: Parser) -> None:
    parser.add_argument("files", metavar="FILE", nargs="+", help="a file, or a folder with all that is in it")
    parser.add_argument("-o", dest="out", metavar="OUT", help="what to write, - for standard output (FILE.meta4)")
    kinds = ("meta4", "metalink3", "magnet", "torrent")
    parser.add_argument(
        "--format", metavar="FORMAT", choices=kinds, help=f"{', '.join(kinds)} (what OUT ends in, else meta4)"
    )
    parser.add_argument(
        "--mirror", metavar="URL", action="append", default=[], help="where the files can be had; may be given again"
    )
    parser.add_argument(
        "--piece-length", metavar="SIZE", type=_length, help="bytes of a piece (256K to 16M, by the size of the file)"
    )


def _length(text: str) -> int:
    found = _value(values.size, "--piece-length")(text)
    if not 1 << 10 <= found <= 512 << 20:
        raise UsageError(f"--piece-length: {quoted(text)} is not allowed; allowed is 1K to 512M")
    return found


class Command(NamedTuple):
    """What a command does, in a line and in *more*; *fill* gives a parser its arguments."""

    summary: str
    fill: Callable[[Parser], None]
    more: str = ""


COMMANDS = {
    "mount": Command("mount what descriptors describe", _fill_mount, _MOUNT),
    "fetch": Command("download whole files without a mount", _fill_fetch, _FETCH),
    "unmount": Command("unmount, and wait until the store is flushed", _fill_unmount),
    "status": Command("show what is mounted, what is here and what arrives", _fill_status),
    "inspect": Command("show what descriptors say, without touching the network", _fill_inspect),
    "create": Command("make a descriptor of local files", _fill_create, _CREATE),
    "why": Command("show why a read failed, or who sent which bytes", _fill_why),
    "wait": Command("fetch a file, and return when it is complete or can be played", _fill_wait),
    "cache": Command("show, verify, prune and fill the store", _fill_cache, _CACHE),
    "completion": Command(
        "print what bash, zsh or fish completes commands and options by", _fill_completion, _COMPLETION
    ),
    "demo": Command("show it all on this machine, without the internet", _fill_demo),
}


def build(wanted: Collection[str] = COMMANDS) -> tuple[Parser, dict[str, Parser]]:
    """Return the parser of `mountdl` and those of its commands, of which only *wanted* have their arguments."""
    top = Parser(prog="mountdl", description=_TOP)
    top.add_argument("--version", action="version", version=f"mountdl {__version__}")
    parsers = top.add_subparsers(dest="command", metavar="COMMAND", title="commands", parser_class=Parser)
    made: dict[str, Parser] = {}
    for name, command in COMMANDS.items():
        summary = command.summary
        description = f"{summary[0].upper()}{summary[1:]}.\n\n{command.more}".strip()
        made[name] = parsers.add_parser(name, help=summary, description=description)
        made[name].set_defaults(command=name)
        if name in wanted:
            command.fill(made[name])
    return top, made
