"""Real tools on files that are not complete: each gets what it wants and has only a part of the file fetched."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import samples as made
from tests.support.content import pattern
from tests.support.mirrors import Mirror, Mirrors, paced
from tests.support.mounts import Mount, Mounts, needs_fuse, run
from tests.support.samples import MIB, publish

pytestmark = needs_fuse

Make = Callable[[Path], bytes]
_KEPT: dict[str, bytes] = {}


class Bench:
    """Mounts one sample, of a mirror that is not too fast to be noticed, and counts what that sends."""

    def __init__(self, mirrors: Mirrors, mounted: Mounts, source: Path, samples: Path) -> None:
        self._mirrors, self._mounted, self._source, self._samples = mirrors, mounted, source, samples
        self.data = b""

    def __call__(self, name: str, make: Make) -> tuple[Mount, Mirror]:
        if name not in _KEPT:
            _KEPT[name] = make(self._samples)
        self.data = _KEPT[name]
        mirror = self._mirrors.add("honest", {name: self.data}, paced(40 * MIB, latency=0.002))
        publish(self._source, name, self.data, [mirror.of(name)])
        return self._mounted(self._source, background="off"), mirror

    def expect(self, *command: object) -> str:
        """Return what a command prints that must succeed and not complain."""
        if shutil.which(str(command[0])) is None:
            pytest.skip(f"{command[0]} is not installed")
        done = run(*command)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout


@pytest.fixture
def bench(mirrors: Mirrors, mounted: Mounts, source: Path, samples: Path) -> Bench:
    return Bench(mirrors, mounted, source, samples)


def test_ffprobe_of_a_film_whose_index_is_at_its_end(bench: Bench) -> None:
    mount, mirror = bench("film.mp4", made.film)
    said = bench.expect("ffprobe", "-v", "error", "-show_entries", "format=duration,nb_streams", mount / "film.mp4")

    assert "duration=20.0" in said
    assert mirror.sent < len(bench.data) / 2


def test_ffmpeg_takes_a_picture_from_the_middle(bench: Bench, tmp_path: Path) -> None:
    """The very picture that it takes from the original."""
    mount, mirror = bench("film.mp4", made.film)
    picture = ["-frames:v", "1", "-f", "framemd5", "-"]
    got = bench.expect("ffmpeg", "-v", "error", "-ss", "12", "-i", mount / "film.mp4", *picture)
    assert mirror.sent < len(bench.data) / 2

    (tmp_path / "film.mp4").write_bytes(bench.data)
    assert got == bench.expect("ffmpeg", "-v", "error", "-ss", "12", "-i", tmp_path / "film.mp4", *picture)


def test_mpv_plays_three_pictures(bench: Bench) -> None:
    mount, mirror = bench("film.mp4", made.film)
    still = ["--no-config", "--vo=null", "--ao=null", "--frames=3", "--really-quiet", "--cache=no"]
    bench.expect("mpv", *still, mount / "film.mp4")

    assert mirror.sent < len(bench.data) / 2


LISTERS: dict[str, tuple[str, Make, list[str], str, int]] = {
    "isoinfo": ("disc.iso", made.disc, ["isoinfo", "-l", "-R", "-i"], "file23.bin", 24),
    "bsdtar-of-a-tar": ("three.tar", made.tarred, ["bsdtar", "-tf"], "big2.bin", 3),
    "bsdtar-of-a-disc": ("disc.iso", made.disc, ["bsdtar", "-tf"], "file23.bin", 24),
    "bsdtar-of-a-zip": ("packed.zip", made.zipped, ["bsdtar", "-tf"], "file23.bin", 24),
    "7z": ("packed.7z", made.packed, ["7z", "l"], "file23.bin", 24),
    "7z-of-a-disc": ("disc.iso", made.disc, ["7z", "l"], "file23.bin", 24),
    "unsquashfs": ("disc.squashfs", made.squashed, ["unsquashfs", "-l"], "file23.bin", 24),
}


@pytest.mark.parametrize("tool", LISTERS)
def test_what_an_image_or_archive_holds(bench: Bench, tool: str) -> None:
    """All names are listed, and less than half of the file was sent."""
    name, make, command, last, count = LISTERS[tool]
    mount, mirror = bench(name, make)
    said = bench.expect(*command, mount / name)

    assert last in said
    assert said.count(".bin") >= count
    assert mirror.sent < len(bench.data) / 2


def test_sha256sum_has_all_of_it_fetched_once(bench: Bench) -> None:
    mount, mirror = bench("disc.iso", made.disc)
    said = bench.expect("sha256sum", mount / "disc.iso")

    assert said.split()[0] == hashlib.sha256(bench.data).hexdigest()
    assert len(bench.data) <= mirror.sent < 1.1 * len(bench.data)
    assert mount.file("disc.iso")["state"] == "complete"


def test_one_file_out_of_a_disc(bench: Bench, tmp_path: Path) -> None:
    """Taken out of the image by 7z: the right bytes, and not all the others."""
    mount, mirror = bench("disc.iso", made.disc)
    bench.expect("7z", "e", "-bd", f"-o{tmp_path / 'out'}", mount / "disc.iso", "PART1/FILE13.BIN", "part1/file13.bin")

    assert (tmp_path / "out" / "file13.bin").read_bytes() == pattern(1_000_000, 13)
    assert mirror.sent < len(bench.data) / 2
