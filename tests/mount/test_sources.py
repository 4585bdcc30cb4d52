"""The mount follows its source: what is added, changed, removed, broken or half written, and ten thousand at once."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import time
from pathlib import Path
from threading import Timer

import pytest

from tests.support.content import pattern
from tests.support.machine import patience
from tests.support.mirrors import Mirrors, stalling
from tests.support.mounts import LONGEST, Mount, Mounts, eventually, mountdl, needs_fuse, run, within
from tests.support.samples import MIB, metalink4, publish

pytestmark = needs_fuse

SOON = 2.0
"""Seconds in which a change of the source must show."""
ONE, TWO = pattern(MIB, seed=1), pattern(MIB + 5, seed=2)


@pytest.fixture
def mounted(mounted: Mounts) -> Mounts:
    """Mount by what users start."""
    mounted.command = mountdl
    return mounted


def shown(mount: Mount) -> list[str]:
    """Return what ls shows in the mount and below."""
    listed = run("find", mount.path, "-mindepth", "1", "-printf", "%P\n")
    return sorted(listed.stdout.splitlines())


def test_added_changed_and_removed(mirrors: Mirrors, mounted: Mounts, source: Path) -> None:
    """Each shows within two seconds, in folders, too; an open file keeps its bytes."""
    mirror = mirrors.add("only", {"a.bin": ONE, "b.bin": TWO})
    mount = mounted(source)
    assert shown(mount) == []

    publish(source, "a.bin", ONE, [mirror.of("a.bin")])
    publish(source, "new/deep/b.bin", TWO, [mirror.of("b.bin")])
    eventually(SOON, lambda: shown(mount) == ["a.bin", "new", "new/deep", "new/deep/b.bin"])
    assert mount.read("new/deep/b.bin") == TWO

    with open(mount / "a.bin", "rb") as old:
        first = within(LONGEST, lambda: old.read(1000))
        publish(source, "a.bin", TWO, [mirror.of("b.bin")])
        eventually(SOON, lambda: (mount / "a.bin").stat().st_size == len(TWO))
        assert mount.read("a.bin") == TWO
        assert first + within(LONGEST, old.read) == ONE

    (source / "new/deep/b.bin.meta4").unlink()
    eventually(SOON, lambda: shown(mount) == ["a.bin"])
    (source / "a.bin.meta4").rename(source / "c.bin.meta4")
    eventually(SOON, lambda: "a.bin" in shown(mount) or "c.bin" in shown(mount))


def test_a_mirror_that_is_added_while_a_reader_waits(mirrors: Mirrors, mounted: Mounts, source: Path) -> None:
    """The read that hangs on the old one gets its bytes from the new one, through the same handle."""
    stuck, good = mirrors.add("stuck", {"a.bin": ONE}, stalling(0)), mirrors.add("good", {"a.bin": ONE})
    publish(source, "a.bin", ONE, [stuck.of("a.bin")])
    mount = mounted(source, timeout=60)
    Timer(0.5, lambda: publish(source, "a.bin", ONE, [stuck.of("a.bin"), good.of("a.bin")])).start()

    start = time.monotonic()
    assert mount.read("a.bin") == ONE
    assert time.monotonic() - start < patience(5)


def test_half_written_descriptor(mirrors: Mirrors, mounted: Mounts, source: Path, tmp_path: Path) -> None:
    """Written in pieces by another program over two seconds: it ends in the right file and no .error."""
    mirror = mirrors.add("only", {"a.bin": ONE})
    text = metalink4("a.bin", ONE, [mirror.of("a.bin")], chunk=16 << 10)
    (tmp_path / "text").write_text(text)
    mount = mounted(source)
    code = """
import sys, time
text = open(sys.argv[1]).read()
with open(sys.argv[2], "w") as out:
    for at in range(0, len(text), len(text) // 8 + 1):
        out.write(text[at : at + len(text) // 8 + 1]); out.flush(); time.sleep(0.25)
"""
    with subprocess.Popen([sys.executable, "-S", "-c", code, tmp_path / "text", source / "a.bin.meta4"]) as writer:
        while writer.poll() is None:
            if "a.bin" in shown(mount):
                assert (source / "a.bin.meta4").read_text() == text
            time.sleep(0.1)

    eventually(SOON, lambda: shown(mount) == ["a.bin"])
    assert mount.read("a.bin") == ONE


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("<metalink xmlns='urn:ietf:params:xml:ns:metalink'><file name='a'>", "not-well-formed"),
        ("", "empty"),
        ("<html></html>", "not-metalink"),
        (metalink4("../../etc/passwd", ONE, ["http://127.0.0.1:9/x"]), "leads upwards"),
    ],
)
def test_a_broken_descriptor(mirrors: Mirrors, mounted: Mounts, source: Path, text: str, reason: str) -> None:
    """It is a small text file that says why, beside the good ones; mended, it is the file."""
    mirror = mirrors.add("only", {"a.bin": ONE, "good.bin": TWO})
    publish(source, "good.bin", TWO, [mirror.of("good.bin")])
    broken = source / "a.bin.meta4"
    broken.write_text(text)
    mount = mounted(source)

    eventually(SOON, lambda: shown(mount) == ["a.bin.meta4.error", "good.bin"])
    assert reason in mount.read("a.bin.meta4.error").decode()
    assert mount.xattr("a.bin.meta4.error", "state") == "error"
    assert mount.read("good.bin") == TWO
    broken.write_text(metalink4("a.bin", ONE, [mirror.of("a.bin")]))
    eventually(SOON, lambda: shown(mount) == ["a.bin", "good.bin"])
    assert mount.read("a.bin") == ONE


def test_two_descriptors_of_one_name(mirrors: Mirrors, mounted: Mounts, source: Path) -> None:
    """With other contents: the first by name keeps it, the other is NAME (2), and the status warns."""
    mirror = mirrors.add("only", {"one": ONE, "two": TWO})
    (source / "a.bin.meta4").write_text(metalink4("a.bin", ONE, [mirror.of("one")]))
    (source / "a.bin.metalink").write_text(metalink4("a.bin", TWO, [mirror.of("two")]))
    mount = mounted(source)

    assert shown(mount) == ["a (2).bin", "a.bin"]
    assert (mount.read("a.bin"), mount.read("a (2).bin")) == (ONE, TWO)
    assert [each for each in mount.status()["cautions"] if each["code"] == "renamed"]


def test_one_descriptor_as_the_source(mirrors: Mirrors, mounted: Mounts, source: Path) -> None:
    """A file instead of a directory: its file is the mount's only one."""
    mirror = mirrors.add("only", {"a.bin": ONE, "b.bin": TWO})
    publish(source, "b.bin", TWO, [mirror.of("b.bin")])
    mount = mounted(publish(source, "a.bin", ONE, [mirror.of("a.bin")]))

    assert shown(mount) == ["a.bin"]
    assert mount.read("a.bin") == ONE


def test_ten_thousand_descriptors(mounted: Mounts, source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The mount is usable in less than 3 s, and `ls -lR` takes less than 2 s, on a machine that has nothing else to do.

    Each file is two questions to a daemon that sleeps: where others take the processors of a virtual machine `ls` took
    four times as long, from one minute to the next. contrib/bench/growth.py tells the figures.
    """
    for number in range(10_000):
        folder = source / f"{number % 100:02}"
        folder.mkdir(exist_ok=True)
        digest = hashlib.sha256(b"%d" % number).hexdigest()
        (folder / f"file{number:05}.iso.meta4").write_text(
            '<metalink xmlns="urn:ietf:params:xml:ns:metalink">'
            f'<file name="file{number:05}.iso"><size>{number + 1}</size><hash type="sha-256">{digest}</hash>'
            f"<url>http://127.0.0.1:9/{number}</url></file></metalink>"
        )
    mount = mounted(source)
    start = time.monotonic()
    listed = run("ls", "-lR", mount.path)
    listing = time.monotonic() - start
    with capsys.disabled():
        print(f" [10,000 descriptors: mounted after {mount.took:.2f} s, ls -lR {listing:.2f} s]", end="")

    assert listed.stdout.count(".iso\n") == 10_000
    assert listed.stderr == ""
    assert mount.took < patience(3)
    assert listing < patience(5)
