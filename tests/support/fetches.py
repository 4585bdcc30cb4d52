"""`mountdl fetch` as a user runs it."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.support.machine import patience
from tests.support.mounts import command, mountdl

STORE = ".mountdl"


def fetched(*arguments: object, text: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run `mountdl fetch`; *text* is its standard input."""
    if text is None:
        return mountdl("fetch", *arguments)
    return subprocess.run(
        command("fetch", *arguments), input=text, capture_output=True, text=True, timeout=patience(60), check=False
    )


def names(folder: Path) -> list[str]:
    """Return the paths of all that is no folder in *folder*."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())
