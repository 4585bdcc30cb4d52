"""A finished file is handed out whole or not at all, on whatever file system its place is."""

from __future__ import annotations

import errno
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mountdl.control import logs
from mountdl.control.cache_files import handed_out
from mountdl.control.cli import main
from mountdl.errors import ExitStatus, UsageError

DATA = b"0123456789" * 1000


@pytest.fixture
def source(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "data").write_bytes(DATA)
    fd = os.open(tmp_path / "data", os.O_RDONLY)
    yield fd
    os.close(fd)


def failing(number: int) -> Callable[..., None]:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    return refuse


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP])
def test_where_files_have_one_name_and_no_modes(
    source: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """FAT, as on most sticks: link(2) and chmod(2) say EPERM there. What is there already stays."""
    monkeypatch.setattr(os, "link", failing(number))
    monkeypatch.setattr(os, "fchmod", failing(errno.EPERM))
    target = tmp_path / "out.bin"
    handed_out(source, len(DATA), None, target, lambda _: None)
    assert target.read_bytes() == DATA

    target.write_bytes(b"other")
    with pytest.raises(UsageError, match="can't write"):
        handed_out(source, len(DATA), None, target, lambda _: None)
    assert target.read_bytes() == b"other"
    assert {each.name for each in tmp_path.iterdir()} == {"data", "out.bin"}


def test_a_place_that_is_missing_is_named(source: int, tmp_path: Path) -> None:
    """Not by the name that the file has while it is written."""
    with pytest.raises(UsageError, match=r"can't write .*/none/out\.bin: No such file") as told:
        handed_out(source, len(DATA), None, tmp_path / "none" / "out.bin", lambda _: None)
    assert told.value.exit_status is ExitStatus.IO


def test_a_log_that_is_rotated_is_begun_anew(tmp_path: Path) -> None:
    """Else the daemon would write to the old one until its end. One whose folder is gone ends nothing."""
    root = logging.getLogger()
    before, level, loud = list(root.handlers), root.level, logging.raiseExceptions
    folder = tmp_path / "folder"
    folder.mkdir()
    file = folder / "log"
    try:
        logs.set_up(file, "info", foreground=False)
        for word in ("one", "two"):
            logging.getLogger("mountdl").warning(word)
            file.rename(tmp_path / word)
        assert [(tmp_path / word).read_text().split()[-1] for word in ("one", "two")] == ["one", "two"]
        shutil.rmtree(folder)
        for _ in range(2):
            logging.getLogger("mountdl").warning("lost")
        folder.mkdir()
        logging.getLogger("mountdl").warning("three")
        assert file.read_text().split()[-1] == "three"
    finally:
        for handler in root.handlers:
            if handler not in before:
                handler.close()
        root.handlers[:] = before
        root.setLevel(level)
        logging.getLogger("mountdl").setLevel(logging.NOTSET)
        logging.raiseExceptions = loud


def test_a_descriptor_to_adopt_by_is_read_like_any(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A device without end took all memory, a pipe all time; what is wrong is said with the name."""
    pipe, empty, file = tmp_path / "pipe", tmp_path / "empty.meta4", tmp_path / "file"
    os.mkfifo(pipe)
    for each in (empty, file):
        each.touch()
    for descriptor, status, words in (
        (Path("/dev/zero"), 17, "it is a folder, pipe or device"),
        (pipe, 17, "it is a folder, pipe or device"),
        (tmp_path / "none", 3, "there is no such file"),
        (empty, 20, "the document is empty"),
    ):
        given = ["cache", "adopt", "--cache-dir", str(tmp_path / "c"), str(file), "--descriptor", str(descriptor)]
        assert main(given, _unused, _unused) == status  # type: ignore[arg-type]
        assert f"mountdl: {descriptor}: {words}" in capsys.readouterr().err


def _unused(*_: object) -> None:
    raise AssertionError("no mount is wanted")
