"""The settings of a mount as aria2's clients want to see options: names and texts. Pure.

Law: no option that is secret is told.
"""

from pathlib import Path

from mountdl.control.options import OPTIONS, Option
from mountdl.settings import Settings

_ALSO = {
    "allow-overwrite": "false",
    "auto-file-renaming": "true",
    "continue": "true",
    "file-allocation": "none",
    "max-concurrent-downloads": "5",
    "pause": "false",
}
"""What clients read and a mount can't change: how it is."""


def options(settings: Settings) -> dict[str, str]:
    """Return what `getGlobalOption` answers."""
    told = {option.name: text for option in OPTIONS if (text := _text(settings, option)) is not None}
    return {**_ALSO, **told, "dir": str(settings.mount.mountpoint)}


def _text(settings: Settings, option: Option) -> str | None:
    if option.secret:
        return None
    section, _, field = option.fields[0].partition(".")
    value: object = getattr(getattr(settings, section), field)
    if option.name == "no-netrc":
        value = not value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}" if value < 1e6 else str(int(value))
    if isinstance(value, tuple):
        return ("-" if option.name == "listen-port" else ",").join(map(str, value))
    return str(value) if isinstance(value, str | int | Path) else None
