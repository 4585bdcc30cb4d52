"""The registry: an entry is alive exactly while its daemon holds it."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mountdl.control import mounttable, unmounting
from mountdl.control import registry as module
from mountdl.control.mounttable import Mounted
from mountdl.control.registry import Registry
from mountdl.errors import ExitStatus, UsageError

DIES = """
import os, sys
from pathlib import Path
from mountdl.control.registry import Registry
with Registry(Path(sys.argv[1])).entered(Path("/m"), "/s"):
    os._exit(9)
"""


HOLDS = """
import sys
from pathlib import Path
from mountdl.control.registry import Registry
with Registry(Path(sys.argv[1])).entered(Path(sys.argv[2]), "/s"):
    print(flush=True)
    sys.stdin.read()
"""


LEAVES = """
import os, sys, time
from pathlib import Path
from mountdl.control.registry import Registry
with Registry(Path(sys.argv[1])).entered(Path(sys.argv[2]), "/s"):
    print(flush=True)
    sys.stdin.readline()
print(flush=True)
sys.stdin.read()
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


def test_gone_is_who_has_ended(registry: Registry, tmp_path: Path) -> None:
    """Not who only left the list: its log may lie on the disk that is to be free. Nor is another who has its number."""
    leaving = [sys.executable, "-c", LEAVES, tmp_path, tmp_path / "m"]
    with subprocess.Popen(leaving, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as daemon:
        assert daemon.stdin is not None
        assert daemon.stdout is not None
        daemon.stdout.readline()
        [entry] = registry.alive()
        daemon.stdin.write("\n")
        daemon.stdin.flush()
        daemon.stdout.readline()
        assert registry.alive() == []
        assert not registry.gone(entry, 0)
        assert registry.gone(entry._replace(born=entry.born - 1), 0)
        daemon.stdin.close()
        assert registry.gone(entry, 60)
        assert daemon.wait(0) == 0


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


@pytest.mark.skipif(shutil.which("systemd-tmpfiles") is None, reason="there is no systemd here")
def test_an_entry_is_not_cleaned_away(registry: Registry, tmp_path: Path) -> None:
    """/tmp is, of what nobody touched for ten days: a mount of months was not known any more, nor waited for."""
    rules = tmp_path.with_name(f"{tmp_path.name}.conf")
    rules.write_text(f"d {tmp_path} - - - 1us\n")
    (tmp_path / "old").touch()
    with registry.entered(Path("/m"), "/s") as entry:
        time.sleep(0.01)
        subprocess.run(["systemd-tmpfiles", "--clean", rules], timeout=60, check=True)
        assert not (tmp_path / "old").exists()
        assert [entry] == registry.alive()
    assert list(registry.directory.iterdir()) == []


def test_a_mount_is_known_with_and_without_a_session(tmp_path: Path) -> None:
    """One from a login shell to cron, and one from cron, sudo or fstab's setuid= to a login shell."""
    (session := tmp_path / "session").mkdir(0o700)
    (other := tmp_path / "other").mkdir(0o700)
    gone = tmp_path / "gone"
    with (
        Registry(session, (other, gone)).entered(Path("/m"), "/s") as first,
        Registry(other, (session,)).entered(Path("/n"), "/t") as second,
    ):
        for registry in (Registry(session, (other, gone)), Registry(other, (session, gone))):
            assert registry.alive() == [first, second]
            assert [registry.serving(Path(path)) for path in ("/m/a", "/n")] == [first, second]
            assert not registry.gone(first, 0)
    assert Registry(session, (other,)).alive() == []


def test_where_entries_are(tmp_path: Path) -> None:
    """A runtime directory of one's own making shares with nobody; one that is none is passed over."""
    session, without = Path("/run/user/4242/mountdl"), Path("/tmp/mountdl-4242")  # noqa: S108
    assert module._places(0, "/run/user/0") == [Path("/run/mountdl")]
    assert module._places(4242, str(tmp_path)) == [tmp_path / "mountdl"]
    for given in ("", "relative", str(tmp_path / "none"), "/run/user/4242"):
        assert module._places(4242, given) == [without, session]


def test_only_a_directory_of_ones_own_is_looked_into(tmp_path: Path) -> None:
    """In /tmp anybody can have made one of that name."""
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o755)
    (tmp_path / "own").mkdir(0o700)
    (tmp_path / "link").symlink_to("own")
    assert {name: module._own(tmp_path / name) for name in ("open", "own", "link", "none")} == {
        "open": False,
        "own": True,
        "link": False,
        "none": False,
    }


def test_a_session_may_end_before_its_mounts(tmp_path: Path) -> None:
    """Its directory goes with it; a daemon that ends later misses nothing."""
    (tmp_path / "run").mkdir(0o700)
    with Registry(tmp_path / "run").entered(Path("/m"), "/s"):
        shutil.rmtree(tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Have a daemon serve *tmp_path*/m that another registry has on record, until its standard input is closed."""
    (theirs := tmp_path / "theirs").mkdir(0o700)
    holding = [sys.executable, "-c", HOLDS, theirs, tmp_path / "m"]
    with subprocess.Popen(holding, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as daemon:
        assert daemon.stdout is not None
        daemon.stdout.readline()
        yield daemon


def test_the_daemon_of_a_mount_that_is_not_listed_is_found(
    registry: Registry, elsewhere: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    """Root does not read what other users say of their mounts, but sees who has the file of one open."""
    place, user = tmp_path / "m", os.geteuid()
    assert registry.alive() == []
    assert module.unlisted(place, user + 1) is None
    assert module.unlisted(tmp_path / "n", user) is None
    entry = module.unlisted(place, user)
    assert entry is not None
    assert (entry.mountpoint, entry.pid) == (str(place), elsewhere.pid)
    assert not registry.gone(entry, 0)
    elsewhere.communicate()
    assert registry.gone(entry, 0)
    assert module.unlisted(place, user) is None


def test_unmount_waits_for_a_daemon_that_is_not_listed(
    registry: Registry, elsewhere: subprocess.Popen[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that the disk under its cache is free: nobody waited for the daemon of what root unmounts of others."""
    place = tmp_path / "m"
    monkeypatch.setattr(mounttable, "on", lambda _: Mounted(place, mounttable.FILESYSTEM, "s"))
    monkeypatch.setattr(mounttable, "unmount", lambda _, *, lazy: None)
    with pytest.raises(UsageError, match=f"its daemon .process {elsewhere.pid}. has not ended") as told:
        unmounting.run(place, registry, patience=0)
    assert told.value.exit_status is ExitStatus.TIMEOUT

    monkeypatch.setattr(mounttable, "unmount", lambda _, *, lazy: elsewhere.stdin.close())
    unmounting.run(place, registry)
    assert elsewhere.wait(0) == 0
