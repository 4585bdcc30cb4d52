"""The registry: an entry is alive exactly while its daemon holds it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mountdl.control import registry as module
from mountdl.control.registry import Registry
from mountdl.errors import UsageError

DIES = """
import os, sys
from pathlib import Path
from mountdl.control.registry import Registry
with Registry(Path(sys.argv[1])).entered(Path("/m"), "/s"):
    os._exit(9)
"""


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path)


def test_an_entry_lives_as_long_as_its_context(registry: Registry) -> None:
    """And says who serves what."""
    with registry.entered(Path("/m"), "/s") as entry:
        assert [entry] == registry.alive()
        assert ("/m", "/s", os.getpid()) == (entry.mountpoint, entry.source, entry.pid)
    assert registry.alive() == []
    assert list(registry.directory.iterdir()) == []


def test_what_a_killed_daemon_left_is_removed(registry: Registry) -> None:
    """The lock ends with the process, whatever ended it."""
    done = subprocess.run([sys.executable, "-c", DIES, str(registry.directory)], check=False)
    left = list(registry.directory.glob("*.json"))

    assert (done.returncode, len(left)) == (9, 1)
    assert registry.alive() == []
    assert list(registry.directory.iterdir()) == []


def test_a_place_has_one_daemon(registry: Registry) -> None:
    """A second one is told who has it."""
    with (
        registry.entered(Path("/m"), "/s"),
        pytest.raises(UsageError, match=f"busy: mountdl .process {os.getpid()}"),
        registry.entered(Path("/m"), "/other"),
    ):
        pass
    with registry.entered(Path("/m"), "/other"):
        assert [entry.source for entry in registry.alive()] == ["/other"]


def test_the_innermost_mount_serves_a_path(registry: Registry) -> None:
    """Mounts may lie in folders of one another's names."""
    with registry.entered(Path("/m"), "/s"), registry.entered(Path("/m/n"), "/t"):
        found = [registry.serving(Path(path)) for path in ("/m/a", "/m/n/a", "/m/n", "/mm", "/")]

    assert [entry and entry.mountpoint for entry in found] == ["/m", "/m/n", "/m/n", None, None]


def test_gone_waits_for_the_end(registry: Registry) -> None:
    """It says so when the end does not come in time."""
    with registry.entered(Path("/m"), "/s") as entry:
        assert not registry.gone(entry, 0)
    assert registry.gone(entry, 0)


@pytest.mark.parametrize("junk", [b"", b"{}", b"[]", b'{"pid": "x"}', b"\xff"])
def test_junk_is_no_entry(registry: Registry, junk: bytes) -> None:
    """A file that nobody holds is removed, whatever is in it."""
    (registry.directory / "a.json").write_bytes(junk)

    assert registry.alive() == []
    assert module._parsed(junk) is None


def test_a_directory_that_others_may_enter_is_refused(tmp_path: Path) -> None:
    """Nobody else can put an entry, or a link, where ours are looked for."""
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o755)
    (tmp_path / "link").symlink_to(tmp_path)

    for name in ("open", "link"):
        with pytest.raises(UsageError, match="0700"):
            module._prepare(tmp_path / name)
    module._prepare(tmp_path / "fresh")
    assert (tmp_path / "fresh").stat().st_mode == 0o40700


def test_a_daemon_that_stays_for_open_files_only_gives_its_place_up(registry: Registry) -> None:
    """Its mount was taken away (umount -l), and another one serves there: its end touches nothing of that one's."""
    first = registry.entered(Path("/m"), "/s")
    entry = first.__enter__()
    Path(entry.socket).touch()
    with registry.entered(Path("/m"), "/t") as second:
        assert [second] == registry.alive()
        first.__exit__(None, None, None)
        assert [second] == registry.alive()
        assert Path(second.socket).exists()
    assert list(registry.directory.iterdir()) == []
