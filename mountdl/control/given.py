"""Options as somebody gave them, on the command line or as words of `-o`, before anybody reads their values."""

from dataclasses import dataclass

from mountdl.control import options
from mountdl.control.options import BY_NAME
from mountdl.errors import UsageError

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
    ]
)
_IGNORED_PREFIXES = ("x-", "X-", "comment=")


@dataclass(frozen=True, slots=True)
class Given:
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
        option = BY_NAME[options.find(name, shown)]
        if not equals and not option.flag:
            raise UsageError(f"{shown}: it needs a value: {name}={option.metavar}")
        found.append(Given(option.name, value if equals else "true", shown))
    return found


def _split(text: str) -> list[str]:
    parts = text.replace("\\,", "\0").split(",")
    return [part.replace("\0", ",").strip() for part in parts if part.strip()]
