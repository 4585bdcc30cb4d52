"""Lists of what is to be fetched, and what is told of it."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from mountdl.control.cli import Jobs, main
from mountdl.control.fetch import STORE, Order, Wishes, entries, run
from mountdl.control.fetch_report import Line, Report, Totals, bar, left, progress, summary
from mountdl.errors import UsageError
from mountdl.layers import Layers
from mountdl.settings import Settings

MIB = 1 << 20


def test_a_list_is_parted_into_sources_and_documents() -> None:
    """Descriptors' addresses, magnet links and paths are sources; other lines keep their mirrors and options."""
    text = (
        "# a comment\n\n"
        "http://a/x.iso\thttp://b/x.iso\n  out=y.iso\n\t# not this\n  checksum=md5=00\n"
        "http://a/x.meta4\n  dir=ignored\n"
        "http://a/x.torrent\thttp://b/x.torrent\n"
        "magnet:?xt=urn:btih:0\n"
        "http://a/z.iso#!metalink3!http://a/z.metalink\n"
        "some/folder\n"
        "http://[broken\n"
    )
    sources, documents = entries(text)

    assert sources == [
        "http://a/x.meta4",
        "magnet:?xt=urn:btih:0",
        "http://a/z.iso#!metalink3!http://a/z.metalink",
        "some/folder",
    ]
    assert documents == [
        "http://a/x.iso\thttp://b/x.iso\n  out=y.iso\n  checksum=md5=00\n",
        "http://a/x.torrent\thttp://b/x.torrent\n",
        "http://[broken\n",
    ]
    assert entries("  out=lost\n") == ([], [])


@pytest.mark.parametrize(
    ("size", "here", "rate", "said"),
    [
        (100, 0, 0.0, ""),
        (100, 50, 1.0, "0:50"),
        (3600_000, 0, 100.0, "10:00:00"),
        (90 * MIB, 0, 1024.0, "25:36:00"),
        (10**12, 0, 1.0, "11574074 d"),
        (100, 100, 5.0, ""),
    ],
)
def test_how_long_the_rest_takes(size: int, here: int, rate: float, said: str) -> None:
    """In hours, minutes and seconds; nothing where it can't be told."""
    assert left(Line("x", size, here, rate)).strip() == said


def test_a_bar_fits_and_tells_no_lie() -> None:
    """It is full only when all is here; an empty file is; names can't command the terminal."""
    assert bar(Line("x", 100, 99, 0.0), 80).startswith("[###################.]  99%")
    assert bar(Line("x", 100, 100, 0.0), 80).startswith("[####################] 100%")
    assert bar(Line("x", 0, 0, 0.0), 80).startswith("[####################]")
    assert len(bar(Line("n" * 500, 100, 1, 5.0), 60)) == 60
    assert bar(Line("film.mkv", 100, 50, 5.0), 39) == " 50%       5 B/s  film.mkv"
    assert "\x1b" not in bar(Line("\x1b[2J", 100, 1, 5.0), 80)
    assert "waiting" in progress(Line("x", 100, 1, 0.0, "waiting"))


def test_a_summary_tells_what_there_is_to_tell() -> None:
    """What is not the case is left out."""
    lines = [Line("x", 100, 1, MIB), Line("y", 100, 1, MIB)]
    assert summary([], Totals(1, 0, 0, 0)) == "0 of 1 file"
    assert summary([], Totals(0, 0, 0, 1, "m: why")) == "0 of 0 files, 1 source yet to tell all files, m: why"
    assert summary(lines, Totals(3, 1, 1, 2)) == "1 of 3 files, 1 failed, 2 sources yet to tell all files, 2.0 MiB/s"


def test_what_the_store_says_names_the_option_of_a_fetch(tmp_path: Path) -> None:
    """Its folder is below the one that files go to."""
    (tmp_path / STORE).mkdir()
    (tmp_path / STORE / "layout").write_text("9")
    asked: list[Settings] = []

    def fetch(settings: Settings, order: Order, report: Report) -> int:
        asked.append(settings)
        return 0

    assert run(Wishes(("http://h/x",), None, tmp_path, 5, False, 0.0, ()), fetch) == 0
    with pytest.raises(UsageError, match="name another directory with --dir"):
        Layers(asked[0], lambda _: None)


class Terminal(io.StringIO):
    """Says that it is one."""

    def isatty(self) -> bool:
        return True


def test_a_dumb_terminal_is_sent_no_sequences(monkeypatch: pytest.MonkeyPatch) -> None:
    """It gets summaries, as a file does."""
    monkeypatch.setenv("TERM", "dumb")
    stream = Terminal()
    report = Report(stream, quiet=False, interval=1e-9)
    report.show([Line("x", 100, 1, 5.0)], Totals(1, 0, 0, 0))
    report.close()
    assert stream.getvalue().startswith("0 of 1 file")
    assert "\x1b" not in stream.getvalue()


def test_bars_are_drawn_over_and_gone_at_the_end(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many lines go up as were drawn; a finished file is named on standard output alone."""
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    report = Report(stream, quiet=False, interval=0)
    report.show([Line("x", 100, 1, 5.0)], Totals(1, 0, 0, 0))
    report.finished("there/x")
    report.close()
    drawn = stream.getvalue()

    assert drawn.count("\n") == 2
    assert drawn.endswith("\x1b[2A\r\x1b[J")
    assert capsys.readouterr().out == "there/x\n"


@pytest.mark.parametrize(("quiet", "interval", "lines"), [(False, 1e-9, 2), (False, 0.0, 0), (True, 1e-9, 0)])
def test_a_summary_is_written_where_nobody_looks(quiet: bool, interval: float, lines: int) -> None:
    """So often; never with an interval of 0, and not when it is to be quiet. What failed is told in any case."""
    stream = io.StringIO()
    report = Report(stream, quiet=quiet, interval=interval)
    report.show([Line("x", 100, 1, 5.0)], Totals(1, 0, 0, 0))
    assert stream.getvalue().count("\n") == lines
    report.remark("x: gone")
    assert stream.getvalue().endswith("mountdl: x: gone\n")


def test_a_list_is_held_to_what_it_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A checksum that is none had its file fetched unchecked; a name that leads out had it fetched under another one."""
    lines = [
        "http://u:secret@a/1?secret",
        "  checksum=sha-256=zz",
        "http://a/2",
        "  out=../x",
        "http://[broken",
        "http://a/3",
        "  dir=sub",
        "  header=A: b",
        "  out=y",
    ]
    asked: list[Order] = []

    def fetch(settings: Settings, order: Order, report: Report) -> int:
        asked.append(order)
        return 0

    (tmp_path / "list").write_text("\n".join(lines))
    assert run(Wishes((), str(tmp_path / "list"), tmp_path, 5, False, 0.0, ()), fetch) == 28
    assert [order.documents for order in asked] == [("http://a/3\n  dir=sub\n  header=A: b\n  out=y\n",)]
    assert capsys.readouterr().err.splitlines() == [
        "mountdl: http://a/1: the checksum of a file is not one",
        'mountdl: http://a/2: the name "../x" leads upwards',
        "mountdl: http://[broken: the file names no address that can be followed",
        "mountdl: warning: options in the list that are not followed: dir, header",
    ]

    (tmp_path / "list").write_text("\n".join(lines[:2]))
    assert run(Wishes((), str(tmp_path / "list"), tmp_path, 5, True, 0.0, ()), _never) == 28


@pytest.mark.parametrize(
    ("words", "document"),
    [
        (["-o", "x.iso", "http://a/1"], "http://a/1\n  out=x.iso\n  parameterized-uri=false\n"),
        (
            ["http://a/1", "--out=sub/x.iso", "http://b/2"],
            "http://a/1\thttp://b/2\n  out=sub/x.iso\n  parameterized-uri=false\n",
        ),
    ],
)
def test_addresses_with_one_name_are_mirrors_of_one_file(
    words: list[str], document: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As aria2 has it. Its short options are taken too, and -c, which is always so."""
    monkeypatch.chdir(tmp_path)
    asked: list[tuple[Settings, Order]] = []

    def fetch(settings: Settings, order: Order, report: Report) -> int:
        asked.append((settings, order))
        return 0

    jobs = Jobs(_never, fetch, _never)
    assert main(["fetch", "-c", "-x4", "-s", "3", "-t", "7", "-m2", "-U", "me", *words], jobs) == 0
    settings, order = asked[0]
    assert (order.sources, order.documents) == ((), (document,))
    assert (settings.engine.split, settings.engine.max_connection_per_server, settings.engine.max_tries) == (3, 4, 2)
    assert (settings.http.stall_timeout, settings.http.user_agent) == (7, "me")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-o", "x", "x.meta4"], "--out: x.meta4 is no address of a file"),
        (["-o", "x", "http://a/x.torrent"], "--out: http://a/x.torrent is no address of a file"),
        (["-o", "x", "-i", "list"], "--out: it names one file"),
        (["-o", "x"], "nothing to fetch"),
        (["-o", "", "http://a/1"], "--out: '' is not allowed"),
        (["-o", "../x", "http://a/1"], "--out: the name '../x' "),
        (["-o", "x\n checksum=md5=00", "http://a/1"], "--out: "),
    ],
)
def test_what_can_not_be_named_is_refused(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files of descriptors have names, and many files have many."""
    monkeypatch.chdir(tmp_path)
    assert main(["fetch", *words], Jobs(_never, _never, _never)) == 28
    assert said in capsys.readouterr().err


def _never(*_: object) -> int:
    raise AssertionError
