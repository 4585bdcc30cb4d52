"""What was learned, kept over mounts."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mountdl.descriptors.learned import Learned
from mountdl.descriptors.model import Descriptor, MirrorRef, PieceDigests, SwarmRef
from mountdl.store import remembered
from mountdl.store.remembered import Remembered

KEY = "urls-00ff-0"
PIECES = PieceDigests("sha-1", 5, bytes(range(40)), 2, open_end=True)
FULL = Learned(
    9,
    {"sha-256": bytes(32), "md5": bytes(16)},
    (MirrorRef("https://h/a?b", 3, "de", 2), MirrorRef("ftp://u:p@h/a")),
    PIECES,
    (SwarmRef("magnet:?xt=urn:btih:00", "torrent", "a/b", 2), SwarmRef("http://h/t", "torrent")),
    described=True,
    version=('"a"', "Sun, 13 Sep 2020 12:26:40 GMT"),
    name="naïve film.mkv",
)


def again(directory: Path, key: str = KEY) -> Learned | None:
    return Remembered(directory).recall(key)


def test_all_of_it_comes_back(tmp_path: Path) -> None:
    """In another process, marked as what it is; private, for addresses may hold passwords."""
    Remembered(tmp_path / "learned").keep(KEY, FULL)

    assert again(tmp_path / "learned") == replace(FULL, remembered=True)
    assert oct((tmp_path / "learned" / f"{KEY}.json").stat().st_mode) == "0o100600"
    assert oct((tmp_path / "learned").stat().st_mode) == "0o40700"


@given(st.integers(0, (1 << 63) - 1), st.dictionaries(st.sampled_from(["md5", "sha-1"]), st.just(b"")), st.booleans())
def test_any_size_comes_back(
    tmp_path_factory: pytest.TempPathFactory, size: int, names: dict[str, bytes], described: bool
) -> None:
    """With the digests there were."""
    directory = tmp_path_factory.mktemp("learned")
    digests = {name: os.urandom(16 if name == "md5" else 20) for name in names}
    learned = Learned(size, digests, described=described)
    Remembered(directory).keep(KEY, learned)

    assert again(directory) == replace(learned, remembered=True)


def test_what_is_newer_replaces_it(tmp_path: Path) -> None:
    """One answer a key; no half-written file stays."""
    memory = Remembered(tmp_path)
    memory.keep(KEY, FULL)
    memory.keep(KEY, Learned(1))

    assert again(tmp_path) == Learned(1, remembered=True)
    assert [path.name for path in tmp_path.iterdir()] == [f"{KEY}.json"]


def test_a_torrent_is_not_kept_here(tmp_path: Path) -> None:
    """Its size without its files would be that of no file."""
    Remembered(tmp_path).keep(KEY, Learned(9, torrent=Descriptor("torrent", ())))
    assert again(tmp_path) is None


def test_nothing_is_remembered_of_what_was_never_kept(tmp_path: Path) -> None:
    assert again(tmp_path / "none") is None
    assert again(tmp_path, "../etc/passwd") is None
    Remembered(tmp_path).keep("../x", FULL)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"key": "another"},
        {"size": -1},
        {"size": 1 << 63},
        {"size": True},
        {"size": "9"},
        {"digests": {"sha-256": "00"}},
        {"digests": {"crc-512": "00"}},
        {"digests": 5},
        {"mirrors": [["file:///etc/passwd", 1, None, None]]},
        {"mirrors": [["http://h/a", 0, None, None]]},
        {"mirrors": [["http://h/a", 1000000, None, None]]},
        {"mirrors": [[5]]},
        {"swarms": [["http://h/\u0000", "torrent", None, 1]]},
        {"pieces": ["md4x", 5, "", 0, False]},
        {"pieces": ["sha-1", 0, "", 0, False]},
        {"pieces": ["sha-1", 5, "AAAA", 0, False]},
        {"pieces": ["sha-1", 5, "?", 0, False]},
        {"pieces": [1]},
    ],
    ids=str,
)
def test_what_is_not_as_written_is_as_if_it_had_never_been(tmp_path: Path, change: dict[str, object]) -> None:
    """Nobody else should write there; whoever did is not believed."""
    Remembered(tmp_path).keep(KEY, FULL)
    path = tmp_path / f"{KEY}.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))

    assert again(tmp_path) is None


@settings(max_examples=60)
@given(st.integers(0, 900), st.binary(max_size=5))
def test_a_torn_file_is_as_if_it_had_never_been(tmp_path_factory: pytest.TempPathFactory, at: int, junk: bytes) -> None:
    """After a loss of power, say."""
    directory = tmp_path_factory.mktemp("learned")
    Remembered(directory).keep(KEY, FULL)
    path = directory / f"{KEY}.json"
    path.write_bytes(path.read_bytes()[:at] + junk)

    found = again(directory)
    assert found is None or found.remembered


@pytest.mark.parametrize("data", [b"", b"[" * 100_000, b"{}", b"null", b"\xff", b"1" * 5000])
def test_junk_is_as_if_it_had_never_been(tmp_path: Path, data: bytes) -> None:
    (tmp_path / f"{KEY}.json").write_bytes(data)
    assert again(tmp_path) is None


def test_a_pipe_or_a_link_in_its_place_is_passed_over(tmp_path: Path) -> None:
    """Reading neither waits nor leads elsewhere."""
    os.mkfifo(tmp_path / f"{KEY}.json")
    assert again(tmp_path) is None
    Remembered(tmp_path).keep("other", FULL)
    (tmp_path / "link.json").symlink_to(tmp_path / "other.json")
    assert again(tmp_path, "link") is None


def test_a_directory_that_can_not_be_written_costs_nothing(tmp_path: Path) -> None:
    (tmp_path / "learned").write_text("a file")
    Remembered(tmp_path / "learned").keep(KEY, FULL)
    assert again(tmp_path / "learned") is None


def test_no_more_is_kept_than_is_bearable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest go first, and what is too long is not kept."""
    memory = Remembered(tmp_path, most=20)
    for number in range(40):
        memory.keep(f"k-{number}", Learned(number))
        os.utime(tmp_path / f"k-{number}.json", (number, number))
    left = {path.stem for path in tmp_path.iterdir()}
    assert len(left) <= 20
    assert {f"k-{number}" for number in range(30, 40)} <= left

    monkeypatch.setattr(remembered, "LONGEST", 100)
    memory.keep("long", FULL)
    assert again(tmp_path, "long") is None
