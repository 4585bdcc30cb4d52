"""The service that contrib has for systemd: it says what mountdl does, and systemd understands it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mountdl.control.configuration import from_environment, unknown_variables

UNIT = Path(__file__).parents[2] / "contrib/systemd/mountdl@.service"


def test_what_it_sets_are_options() -> None:
    """In the unit, and in the example of a file for it."""
    words = UNIT.read_text().replace("Environment=", "").replace("#   ", "").splitlines()
    given = dict(line.split("=", 1) for line in words if line.startswith("MOUNTDL_"))
    assert sorted(each.name for each in from_environment(given)) == ["allow-other", "cache-dir", "cache-size"]
    assert unknown_variables(given) == []


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd here")
def test_systemd_understands_it(tmp_path: Path) -> None:
    unit = tmp_path / "mountdl@x.service"
    text = UNIT.read_text().replace("/usr/local/bin/mountdl", sys.executable)
    unit.write_text("\n".join(line for line in text.splitlines() if not line.startswith("Documentation=")))
    unit.chmod(0o644)  # whatever the umask
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, timeout=60, check=False)
    assert [line for line in done.stderr.splitlines() if "mountdl" in line] == []
