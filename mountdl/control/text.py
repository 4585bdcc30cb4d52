"""How values look to people. Pure."""

from collections.abc import Sequence


def shown(text: object) -> str:
    """Return *text* without what could command a terminal: names and answers come from strangers."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(text))


_LONGEST_QUOTE = 60


def quoted(text: str) -> str:
    """Return *text*, which somebody typed, as it may stand in a sentence: quoted, and not too long."""
    return repr(short(text))


def short(text: str, most: int = _LONGEST_QUOTE) -> str:
    """Return *text*, its end left out where it has more than *most* characters."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def size(count: float) -> str:
    """Return *count* bytes in at most seven characters: "512 B", "1.5 MiB"."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(count) < 1000:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def rate(bytes_a_second: float) -> str:
    """Return a rate, or "" for none."""
    return f"{size(bytes_a_second)}/s" if bytes_a_second >= 1 else ""


def percent(part: float, total: float | None) -> str:
    """Return how much of *total* is *part*; only what is whole is 100 %."""
    if total is None:
        return "?"
    if part >= total:
        return "100%"
    return f"{min(99.9, 100 * part / total):.0f}%" if part < 0.99 * total else "99%"


def counted(count: int, one: str) -> str:
    """Return "1 file", "2 files"."""
    return f"{count} {one}{'' if count == 1 else 's'}"


def table(rows: Sequence[Sequence[str]], right: frozenset[int] = frozenset()) -> list[str]:
    """Return *rows* as lines with aligned columns; those in *right* are aligned to the right."""
    if not rows:
        return []
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
