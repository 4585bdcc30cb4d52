"""What other programs say of a file in the mount, if they are installed; else what our own readers find.

Law: their output is quoted, never believed: the demo's verdict comes from comparing bytes.
"""

import re
import shutil
import subprocess
from pathlib import Path

from mountdl.demo import disc, film

_PATIENCE = 30.0

# How to list a disc, and what a line of each listing looks like that stands for a file.
_LISTERS = (
    (["isoinfo", "-l", "-i"], re.compile(r"^-.*;1\s*$", re.MULTILINE)),
    # It shows directories like files; those of the sample disc have no suffix.
    (["bsdtar", "-tf"], re.compile(r"\w\.\w+$", re.MULTILINE)),
    (["7z", "l", "-ba"], re.compile(r"^\S+ \S+ \.", re.MULTILINE)),
)


def describe_film(path: Path, read: film.Read) -> str:
    """Return a sentence on the film at *path*, which *read* reads too."""
    fields = "format=format_name,duration:stream=codec_name,width,height"
    told = _output(["ffprobe", "-v", "error", "-show_entries", fields, "-of", "default=nw=1"], path)
    if told is not None:
        values = dict(line.split("=", 1) for line in told.splitlines() if "=" in line)
        if {"format_name", "duration", "width", "height"} <= values.keys():
            seconds = values["duration"].partition(".")[0]
            picture = f"{values['width']}x{values['height']}"
            return f"ffprobe: {values['format_name']}, {values.get('codec_name', '?')} {picture}, {seconds} s."
    frames = film.frames_by_index(read)
    return f"Its index, read by the demo (ffprobe is not installed): {frames} pictures, {frames / film.RATE:g} s."


def describe_disc(path: Path, read: disc.Read) -> str:
    """Return a sentence on the disc at *path*, which *read* reads too."""
    for command, line in _LISTERS:
        told = _output(command, path)
        if told is not None:
            return f"{' '.join(command)}: {len(line.findall(told))} files."
    count = len(disc.listing(read))
    return f"Its directories, read by the demo (isoinfo, bsdtar and 7z are not installed): {count} files."


def _output(command: list[str], path: Path) -> str | None:
    """Return what *command* says of *path*, or None when it is not installed or fails."""
    if shutil.which(command[0]) is None:
        return None
    try:
        done = subprocess.run(
            [*command, str(path)], capture_output=True, timeout=_PATIENCE, stdin=subprocess.DEVNULL, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode(errors="replace") if done.returncode == 0 else None
