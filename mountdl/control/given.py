"""Options as somebody gave them, on the command line or as words of `-o`, before anybody reads their values."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from mountdl.control import options
from mountdl.control.options import BY_NAME
from mountdl.errors import UsageError

if TYPE_CHECKING:
    from argparse import ArgumentParser

VALUED = "-:"
"""What carries the value of a flag to argparse, which can't say it; nobody types it."""

# mount(8) and fstab(5): words that are meant for others or that a read-only network mount satisfies anyway.
_IGNORED_WORDS = frozenset(
    [
        "_netdev",
        "nofail",
        "noauto",
        "auto",
        "user",
        "nouser",
        "users",
        "owner",
        "group",
        "ro",
        "nosuid",
        "nodev",
        "noexec",
        "suid",
        "dev",
        "exec",
        "defaults",
        "rw",
        "sync",
        "async",
        "atime",
        "noatime",
        "diratime",
        "nodiratime",
        "relatime",
        "norelatime",
        "strictatime",
        "lazytime",
        "nolazytime",
        "dirsync",
        "silent",
        "loud",
        "default_permissions",
    ]
)
_OWNING = frozenset({"uid", "gid", "umask", "fmask", "dmask", "file_mode", "dir_mode"})
"""What other file systems that know no owners take from fstab."""
_IGNORED_PREFIXES = ("x-", "X-", "comment=")


class Given(NamedTuple):
    """An option as somebody gave it; *shown* names the place for messages: "--split", "MOUNTDL_SPLIT"."""

    name: str
    text: str
    shown: str


def from_words(text: str) -> list[Given]:
    r"""Return what `-o TEXT` gives. UsageError for an unknown word. A comma inside a value is written "\\,".

    A word may have the dashes of a long option.
    """
    found = []
    for word in _split(text):
        name, equals, value = word.partition("=")
        if name in _IGNORED_WORDS or word.startswith(_IGNORED_PREFIXES):
            continue
        shown, name = (name, name[2:]) if name.startswith("--") else (f"-o {name}", name)
        if name == "remount":
            raise UsageError(f"{shown}: options of a mount can't be changed; unmount it, then mount it anew")
        if name in _OWNING:
            why = "files are 0444 and belong to who mounts; allow_other lets others read them"
            raise UsageError(f"{shown}: there is no such option: {why}")
        option = BY_NAME[options.find(name, shown)]
        if not equals and not option.flag:
            raise UsageError(f"{shown}: it needs a value: {name}={option.metavar}")
        found.append(Given(option.name, value if equals else "true", shown))
    return found


def _split(text: str) -> list[str]:
    parts = text.replace("\\,", "\0").split(",")
    return [part.replace("\0", ",").strip() for part in parts if part.strip()]


def prepared(arguments: Sequence[str], parser: "ArgumentParser") -> list[str]:
    """Return *arguments* such that argparse understands them. UsageError for an option that *parser* has not.

    A flag may carry a value ("--check-certificate=false", as aria2 has it), which argparse can't say.
    """
    known = sorted(word[2:] for word in parser._option_string_actions if word.startswith("--"))  # noqa: SLF001
    made: list[str] = []
    rest = iter(arguments)
    for word in rest:
        if word == "--":
            return [*made, word, *rest]
        name, equals, value = word.partition("=")
        if word.startswith("--"):
            plain = options.find(name[2:], name, known)
            option = BY_NAME.get(plain)
            takes_none = option is not None and option.flag and VALUED in parser._option_string_actions  # noqa: SLF001
            # With its dashes: where its value is wrong, it is called as it was typed.
            made.append(f"{VALUED}--{plain}={value}" if equals and takes_none else f"--{plain}{equals}{value}")
        else:
            made.append(word)
    return made


def takes(parser: "ArgumentParser", word: str) -> bool:
    """Say whether *word* is an option that *parser* has, "_" as good as "-"."""
    return word.replace("_", "-") in parser._option_string_actions  # noqa: SLF001  # argparse offers no other way


def gathered(words: Sequence[str], parser: "ArgumentParser") -> list[str]:
    """Return *words* with those that are no options at the end: argparse takes a list of them in one place only."""
    flags: list[str] = []
    rest: list[str] = []
    each = iter(words)
    for word in each:
        if word == "--":
            rest += each
        elif not word.startswith("-") or word == "-":
            rest.append(word)
        else:
            flags.append(word)
            action = parser._option_string_actions.get(word)  # noqa: SLF001  # argparse offers no other way
            if action is not None and action.nargs != 0:
                flags += [value for value in [next(each, None)] if value is not None]
    return [*flags, "--", *rest] if rest else flags
