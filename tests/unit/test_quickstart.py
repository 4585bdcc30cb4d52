"""contrib/quickstart, with a mountdl that only notes what it is asked, and nothing to install."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

CONTRIB = Path(__file__).parents[2] / "contrib"
NOTHING = "install() { :; }\nenvironment() { :; }\ndevice() { :; }\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Make a clone that needs nothing installed."""
    for folder in ("contrib", ".venv/bin"):
        (tmp_path / folder).mkdir(parents=True)
    shutil.copy(CONTRIB / "quickstart", tmp_path / "contrib")
    (tmp_path / "contrib/lib.sh").write_text((CONTRIB / "lib.sh").read_text() + NOTHING)
    return tmp_path


def mounts(root: Path, status: int, mountpoint: str) -> subprocess.CompletedProcess[str]:
    """Run it where mountdl ends with *status*."""
    mountdl = root / ".venv/bin/mountdl"
    mountdl.write_text(f'#!/bin/sh\necho "$@"\nexit {status}\n')
    mountdl.chmod(0o755)
    command = [root / "contrib/quickstart", "s", mountpoint]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=120, check=False)


def test_a_mount_that_fails_leaves_no_folder_behind(root: Path) -> None:
    """Only what was there before stays; the status is mountdl's own."""
    (root / "mnt").mkdir()
    for place in ("fresh", "a/b/c", "mnt/below", "-x", "mnt", str(root / "far/away")):
        before = sorted(root.rglob("*"))
        done = mounts(root, 3, place)
        assert (done.returncode, done.stderr) == (3, "")
        assert f"mount -- s {place}\n" in done.stdout
        assert set(root.rglob("*")) - {root / ".venv/bin/mountdl"} == set(before) - {root / ".venv/bin/mountdl"}


def test_a_mount_has_its_folder_made(root: Path) -> None:
    done = mounts(root, 0, "a/b c")
    assert (done.returncode, done.stderr) == (0, "")
    assert (root / "a/b c").is_dir()
    assert done.stdout.endswith("mountdl unmount a/b c\n")


def lib(folder: Path, script: str, **programs: str) -> subprocess.CompletedProcess[str]:
    """Run *script* after lib.sh, with no *programs* but these and a few that are the same everywhere."""
    bin_ = folder / "bin"
    bin_.mkdir()
    for name in ("cat", "dirname", "env", "ln", "readlink", "sh", "sha256sum"):
        (bin_ / name).symlink_to(str(shutil.which(name)))
    for name, text in programs.items():
        path = bin_ / name.replace("_", "-")
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
    (folder / "contrib").mkdir()
    shutil.copy(CONTRIB / "lib.sh", folder / "contrib")
    shutil.copy(CONTRIB.parent / "pyproject.toml", folder)
    command = [str(shutil.which("bash")), "-euo", "pipefail", "-c", f". contrib/lib.sh\n{script}"]
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=120, check=False, env={"PATH": str(bin_)}
    )


WHOLE = "as root run: apt-get update && apt-get install -y --no-install-recommends fuse3 gcc\n"


@pytest.mark.parametrize("sudo", [None, "echo eve is not in the sudoers file >&2; exit 1"], ids=["none", "refuses"])
def test_who_may_not_install_is_told_the_one_command_that_root_is_to_run(tmp_path: Path, sudo: str | None) -> None:
    """It named `apt-get update` alone, and again once that was done."""
    programs = {"id": "echo 1000", "dpkg_query": "exit 1", "apt_get": "exit 1"} | ({"sudo": sudo} if sudo else {})

    done = lib(tmp_path, "install fuse3 gcc", **programs)

    assert done.returncode == 1
    assert done.stderr.endswith(WHOLE)
    assert "sudo" in done.stderr


def test_packages_are_installed_where_one_of_the_lists_cannot_be_had(tmp_path: Path) -> None:
    """A repository of somebody else that is gone, or has expired, is in the way of nothing."""
    done = lib(
        tmp_path,
        "install fuse3 gcc",
        id="echo 0",
        dpkg_query='[ "$4" != gcc ] || echo "install ok installed"',
        apt_get='[ "$2" != update ] || exit 100; echo "$@" >&2',
    )

    assert (done.returncode, done.stderr) == (0, "-qq install -y --no-install-recommends fuse3\n")


@pytest.mark.parametrize(
    ("script", "wanted"),
    [("system=python3; python3() { return 1; }", "python3 python3-dev python3-venv\n"), ("system=/other", "\n")],
    ids=["none", "one of the user's own"],
)
def test_all_packages_of_python_are_asked_for_at_once(tmp_path: Path, script: str, wanted: str) -> None:
    """Who may not install needs one list. A Python of one's own that is new enough needs none of them."""
    done = lib(tmp_path, f"{script}\necho $(pythons)", python3="exit 0")

    assert (done.returncode, done.stdout, done.stderr) == (0, wanted, "")


VENV = """#!/bin/sh
case "$*" in
    --version) echo Python 3.14.0 ;;
    *"import libtorrent"*) exit 1 ;;
    *"import mountdl"*) [ -e .venv/.installed ] ;;
    *" install "*libtorrent*) exit 1 ;;
    *" install "*) echo "$@" >>pip.log ;;
esac
"""
"""A Python for which PyPI has no libtorrent."""


def test_all_but_swarms_is_installed_for_a_python_that_pypi_has_no_libtorrent_for(tmp_path: Path) -> None:
    """Nothing could be where Python is 3.14, as on Ubuntu 26.04: there are no wheels of 2.1.1 for it."""
    (tmp_path / ".venv/bin").mkdir(parents=True)
    (tmp_path / ".venv/bin/python").write_text(VENV)
    (tmp_path / ".venv/bin/python").chmod(0o755)

    done = lib(tmp_path, "environment\nenvironment", python3='[ "$1" != --version ] || echo Python 3.14.0')

    assert (done.returncode, done.stderr) == (0, "")
    assert "PyPI has no libtorrent for Python 3.14.0 yet: torrents are read from mirrors and web seeds" in done.stdout
    assert len(done.stdout.splitlines()) == 2
    assert len((tmp_path / "pip.log").read_text().splitlines()) == 1


def test_an_environment_of_a_python_that_is_gone_is_made_anew(tmp_path: Path) -> None:
    """After an upgrade of the system its bin/pip is still there, and finds no pip; what pip built may load no more."""
    (tmp_path / ".venv/bin").mkdir(parents=True)
    for name in ("python", "pip"):
        (tmp_path / ".venv/bin" / name).write_text("#!/bin/sh\nexit 1\n")
        (tmp_path / ".venv/bin" / name).chmod(0o755)

    renew = """case "$*" in
        --version) echo Python 3.13.5 ;;
        "-m venv --clear "*) printf '#!/bin/sh\\n' >.venv/bin/python ;;
    esac"""
    done = lib(tmp_path, "environment", python3=renew)

    assert (done.returncode, done.stderr) == (0, "")
