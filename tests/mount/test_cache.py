"""`mountdl cache`: what is in the store, beside a mount and without one."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

from tests.support.mirrors import Mirrors
from tests.support.mounts import Mount, Mounts, eventually, lives, mountdl, needs_fuse
from tests.support.samples import CHUNK, MIB, publish

pytestmark = needs_fuse

NAME = "film.bin"


def cache(where: Path, verb: str, *words: object) -> subprocess.CompletedProcess[str]:
    return mountdl("cache", verb, "--cache-dir", where, *words)


def told(where: Path, verb: str, *words: object) -> dict[str, Any]:
    done = cache(where, verb, "--json", *words)
    assert done.stdout, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def filled(mirrors: Mirrors, mounted: Mounts, source: Path, data: bytes) -> Mount:
    mirror = mirrors.add("only", {NAME: data})
    publish(source, NAME, data, [mirror.of(NAME)])
    mount = mounted(source)
    assert mount.read(NAME) == data
    eventually(5, lambda: mount.file(NAME)["state"] == "complete")
    return mount


def test_list_names_what_mounts_show(mirrors: Mirrors, mounted: Mounts, source: Path, film_bytes: bytes) -> None:
    """With sizes, last use, pins, and the names in running mounts."""
    mount = filled(mirrors, mounted, source, film_bytes)
    assert cache(mount.cache, "pin", mount / NAME).returncode == 0
    [found] = told(mount.cache, "list")["contents"]
    assert found["size"] == len(film_bytes)
    assert found["written"] > 0
    # Other mounts of this machine may show the same content.
    mine = [name for name in found["names"] if name.startswith(str(mount.path))]
    assert (mine, found["pinned"]) == ([str(mount / NAME)], True)
    assert found["disk"] >= len(film_bytes)
    assert mount.xattr(NAME, "pin") == "1"
    assert cache(mount.cache, "unpin", found["key"][:20]).returncode == 0
    listed = cache(mount.cache, "list").stdout
    assert any(Path(name).name in listed for name in found["names"])
    mount.unmount()

    [found] = told(mount.cache, "list")["contents"]
    assert (found["size"], found["verified"], found["pinned"]) == (len(film_bytes), len(film_bytes), False)


def test_list_asks_no_mount_of_another_cache_what_is_here(
    mirrors: Mirrors, mounted: Mounts, source: Path, tmp_path: Path, film_bytes: bytes
) -> None:
    """It may show the same file, of which it has nothing."""
    publish(source, NAME, film_bytes, [mirrors.add("first", {NAME: film_bytes}).of(NAME)])
    assert mounted(source, cache=tmp_path / "other").file(NAME)["written"] == 0
    mount = filled(mirrors, mounted, source, film_bytes)
    [found] = told(mount.cache, "list")["contents"]
    assert (found["size"], found["written"] > 0) == (len(film_bytes), True)


def test_verify_finds_rot_and_the_next_reader_fetches_it(
    mirrors: Mirrors, mounted: Mounts, source: Path, film_bytes: bytes
) -> None:
    """What a mount has open is told as busy; rotten bytes are dropped, and it ends with status 32."""
    mount = filled(mirrors, mounted, source, film_bytes)
    assert [each["state"] for each in told(mount.cache, "verify")["contents"]] == ["busy"]
    with open(mount / NAME, "rb"):
        said = cache(mount.cache, "verify").stdout.splitlines()
        # Other mounts of this machine may show the same content, those of other tests too, under another name.
        assert said[0].endswith(": open in a mount, not checked")
        assert said[1:] == ["1 content, 0 damaged, 1 not checked"]
    mount.unmount()
    [used] = [each["used_at"] for each in told(mount.cache, "list")["contents"]]
    assert cache(mount.cache, "verify").returncode == 0
    assert [each["used_at"] for each in told(mount.cache, "list")["contents"]] == [used]
    [file] = mount.data_files()
    with file.open("r+b") as data:
        data.seek(5 * MIB)
        data.write(b"rot")
    done = cache(mount.cache, "verify", "--json")
    assert done.returncode == 32
    [found] = json.loads(done.stdout)["contents"]
    assert found["state"] == "damaged"
    assert CHUNK <= found["dropped"] < MIB
    assert cache(mount.cache, "verify").returncode == 0

    assert mounted(source, on=mount.path).read(NAME) == film_bytes


def test_prune_drops_what_is_closed_and_leaves_what_is_open(
    mirrors: Mirrors, mounted: Mounts, source: Path, film_bytes: bytes
) -> None:
    mount = filled(mirrors, mounted, source, film_bytes)
    with open(mount / NAME, "rb"):
        assert told(mount.cache, "prune", "--age", "0")["busy"]
        assert mount.read(NAME, 0, MIB) == film_bytes[:MIB]
    mount.unmount()
    [found] = told(mount.cache, "list")["contents"]
    assert cache(mount.cache, "pin", found["key"]).returncode == 0
    assert told(mount.cache, "prune", "--size", "0", "--age", "0")["freed"] == 0
    assert cache(mount.cache, "unpin", found["key"]).returncode == 0
    assert told(mount.cache, "prune", "--size", "4M")["left"] <= 4.5 * MIB
    assert told(mount.cache, "prune", "--age", "0")["left"] == 0
    assert cache(mount.cache, "prune").returncode == 28
    assert mounted(source, on=mount.path).read(NAME) == film_bytes


def test_export_hands_out_what_is_right_and_nothing_else(
    mirrors: Mirrors, mounted: Mounts, source: Path, film_bytes: bytes, tmp_path: Path
) -> None:
    """Beside the mount that has it open; a copy of its own; never over a file that is there; not when it rotted."""
    mount = filled(mirrors, mounted, source, film_bytes)
    out = tmp_path / "out.bin"
    assert mountdl("cache", "export", mount / NAME, out).returncode == 0  # the mount knows its store
    assert out.read_bytes() == film_bytes
    assert out.stat().st_nlink == 1
    (tmp_path / "another" / "contents").mkdir(parents=True)
    assert "name it with --cache-dir" in cache(tmp_path / "another", "export", mount / NAME, out).stderr
    done = cache(mount.cache, "export", mount / NAME, out)
    assert (done.returncode, "there already" in done.stderr) == (28, True)
    out.unlink()
    [file] = mount.data_files()
    with file.open("r+b") as data:
        data.write(b"rot")
    assert cache(mount.cache, "export", mount / NAME, out).returncode == 32
    assert not out.exists()
    assert [path for path in tmp_path.iterdir() if path.name.startswith(".out")] == []


def test_adopt_takes_what_matches_and_only_the_rest_is_fetched(
    mirrors: Mirrors, mounted: Mounts, source: Path, film_bytes: bytes, tmp_path: Path
) -> None:
    """An unfinished file of another program: its right chunks count, its holes and wrong bytes do not."""
    mirror = mirrors.add("only", {NAME: film_bytes})
    publish(source, NAME, film_bytes, [mirror.of(NAME)])
    [descriptor] = source.iterdir()
    partial = tmp_path / f"{NAME}.part"
    partial.write_bytes(film_bytes[: 6 * MIB])
    with partial.open("r+b") as file:
        file.seek(2 * MIB)
        file.write(b"wrong")
    where = tmp_path / "cache"
    [found] = told(where, "adopt", "--descriptor", descriptor, partial)["files"]
    assert found["adopted"] == 6 * MIB - CHUNK

    mount = mounted(source)
    assert mount.read(NAME) == film_bytes
    assert mirror.sent <= len(film_bytes) - 6 * MIB + CHUNK + MIB


def test_adopt_of_a_finished_file_beside_its_descriptor(
    mirrors: Mirrors, mounted: Mounts, source: Path, film_bytes: bytes, tmp_path: Path
) -> None:
    """aria2's `.aria2` beside it says nothing that the digests don't; what no digest can judge is refused."""
    mirror = mirrors.add("only", {NAME: film_bytes})
    publish(source, NAME, film_bytes, [mirror.of(NAME)], chunk=None)
    [descriptor] = source.iterdir()
    folder = tmp_path / "downloads"
    folder.mkdir()
    shutil.copy(descriptor, folder)
    (folder / NAME).write_bytes(film_bytes)
    (folder / f"{NAME}.aria2").touch()
    where = tmp_path / "cache"
    assert cache(where, "adopt", folder / NAME).returncode == 0
    mirrors.stop(mirror)
    assert mounted(source).read(NAME) == film_bytes

    os.truncate(folder / NAME, MIB)
    done = cache(tmp_path / "other", "adopt", folder / NAME)
    assert (done.returncode, "of no use" in done.stderr) == (32, True)
    assert cache(where, "adopt", tmp_path / "absent").returncode == 3
    assert cache(tmp_path / "none", "list").returncode == 3


def test_graduate(mirrors: Mirrors, mounted: Mounts, source: Path, film_bytes: bytes, tmp_path: Path) -> None:
    """A file that becomes complete is handed out below the directory, at its own path; what is there stays."""
    mirror = mirrors.add("only", {NAME: film_bytes})
    publish(source, f"sub/{NAME}", film_bytes, [mirror.of(NAME)])
    publish(source, "other.bin", film_bytes, [mirror.of(NAME)])
    out = tmp_path / "out"
    out.mkdir()
    (out / "other.bin").write_text("mine")
    mount = mounted(source, graduate=out)
    assert mount.read(f"sub/{NAME}") == film_bytes

    eventually(15, lambda: (out / "sub" / NAME).exists())
    assert (out / "sub" / NAME).read_bytes() == film_bytes
    assert (out / "other.bin").read_text() == "mine"
    assert sorted(path.name for path in out.rglob("*")) == [NAME, "other.bin", "sub"]


def test_a_file_of_a_dead_mount_is_said_to_be_that(
    mirrors: Mirrors, mounted: Mounts, source: Path, film_bytes: bytes
) -> None:
    """Not that there is no cache where that of this mount never was."""
    mount = filled(mirrors, mounted, source, film_bytes)
    os.kill(mount.pid, signal.SIGKILL)
    eventually(30, lambda: not lives(mount.pid))
    done = mountdl("cache", "pin", mount / NAME)
    assert (done.returncode, "is dead: mount it again" in done.stderr) == (17, True)
    assert mountdl("unmount", mount.path).returncode == 0
