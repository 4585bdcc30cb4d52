"""The services that contrib has for systemd: they say what mountdl does, and systemd understands them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mountdl.control.configuration import from_environment, unknown_variables
from mountdl.errors import ExitStatus

UNITS = Path(__file__).parents[2] / "contrib/systemd"
SYSTEM, USER = UNITS / "mountdl@.service", UNITS / "user/mountdl@.service"
HIDING = (
    "DynamicUser InaccessiblePaths MountFlags MountImages NoExecPaths PrivateDevices PrivateIPC PrivateMounts PrivateTmp"
    " PrivateUsers ProcSubset ProtectControlGroups ProtectHome ProtectHostname ProtectKernelLogs ProtectKernelModules"
    " ProtectKernelTunables ProtectProc ProtectSystem ReadOnlyPaths ReadWritePaths RootDirectory RootImage"
    " TemporaryFileSystem BindPaths BindReadOnlyPaths ExecPaths ExtensionImages"
)
"""What gives a service a mount table of its own, systemd.exec(5)."""
IMPLY = (
    "LockPersonality MemoryDenyWriteExecute NoNewPrivileges PrivateDevices ProtectClock RestrictAddressFamilies"
    " RestrictNamespaces RestrictRealtime RestrictSUIDSGID SystemCallArchitectures SystemCallFilter SystemCallLog"
)
"""What keeps fusermount3 from becoming root where it is not begun by root, as well."""


def given(unit: Path) -> dict[str, str]:
    """Return the settings of *unit*, the last of each name."""
    lines = [line.split("=", 1) for line in unit.read_text().splitlines() if "=" in line and line[0] not in "#["]
    return dict(lines)


@pytest.mark.parametrize(
    ("unit", "names"),
    [(SYSTEM, ["allow-other", "cache-dir", "cache-size"]), (USER, ["cache-size"])],
    ids=["system", "user"],
)
def test_what_it_sets_are_options(unit: Path, names: list[str]) -> None:
    """In the unit, and in the example of a file for it."""
    words = unit.read_text().replace("Environment=", "").replace("#   ", "").splitlines()
    found = dict(line.split("=", 1) for line in words if line.startswith("MOUNTDL_"))
    assert sorted(each.name for each in from_environment(found)) == names
    assert unknown_variables(found) == []


@pytest.mark.parametrize("unit", [SYSTEM, USER], ids=["system", "user"])
def test_others_see_its_mount(unit: Path) -> None:
    """A mount in a mount table of the service's own would be there for nobody else."""
    assert given(unit).keys() & set(HIDING.split()) == set()


def test_fusermount3_may_become_root() -> None:
    """It is what mounts for an ordinary user."""
    assert given(USER).keys() & set(IMPLY.split()) == set()


@pytest.mark.parametrize("unit", [SYSTEM, USER], ids=["system", "user"])
def test_it_is_begun_anew_where_that_helps(unit: Path) -> None:
    """Not where an option is wrong: that took up the log every five seconds, for ever."""
    assert given(unit)["Restart"] == "on-failure"
    assert given(unit)["RestartPreventExitStatus"] == str(int(ExitStatus.BAD_OPTION))


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd here")
@pytest.mark.parametrize(("unit", "manager"), [(SYSTEM, "--system"), (USER, "--user")], ids=["system", "user"])
def test_systemd_understands_it(unit: Path, manager: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    made = tmp_path / "mountdl@x.service"
    text = unit.read_text().replace("/usr/local/bin/mountdl", sys.executable)
    made.write_text("\n".join(line for line in text.splitlines() if not line.startswith("Documentation=")))
    made.chmod(0o644)  # whatever the umask
    line = ["systemd-analyze", manager, "verify", made]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
    assert [line for line in done.stderr.splitlines() if "mountdl" in line] == []
