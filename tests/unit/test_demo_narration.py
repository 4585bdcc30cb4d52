"""How the demo talks, what it asks other programs, and how it takes signals."""

from __future__ import annotations

import io
import os
import signal
from pathlib import Path

import pytest

from mountdl.demo import disc, film, tools
from mountdl.demo.interrupts import Interrupts
from mountdl.demo.mounted import environment
from mountdl.demo.narrator import Narrator
from mountdl.demo.samples import disc_files


def narrated(*, terminal: bool) -> str:
    out = io.StringIO()
    narrator = Narrator(out, terminal=terminal)
    narrator.act("Title")
    narrator.say("said \x1b[2J")
    narrator.good("good")
    narrator.bad("bad")
    with narrator.progress(100) as progress:
        progress._drawn -= 1
        progress.at(50)
    return out.getvalue()


def test_piped_it_is_plain_text() -> None:
    """No colour, no progress, no carriage return."""
    assert narrated(terminal=False) == "\n1. Title\n   said \\x1b[2J\n   good\n   bad\n"


def test_on_a_terminal_it_is_coloured_and_clears_its_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bar says how much, and is wiped away at the end."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")

    text = narrated(terminal=True)

    assert "\x1b[1m1. Title\x1b[0m" in text
    assert "\x1b[32mgood\x1b[0m" in text
    assert "[###############...............] 50 B of 100 B" in text
    assert text.endswith("\r\x1b[K")
    assert "said \\x1b[2J" in text


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_colours_are_left_out_where_they_are_not_wanted(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """https://no-color.org, and terminals that can't."""
    monkeypatch.setenv(name, value)

    assert "\x1b[1m" not in narrated(terminal=True)


def test_without_other_programs_its_own_readers_answer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The film's index and the disc's directories are read by the demo."""
    monkeypatch.setenv("PATH", str(tmp_path))
    image, movie = disc.image(disc_files(), "LABEL"), film.film()

    assert "53 files" in tools.describe_disc(tmp_path, lambda at, length: image[at : at + length])
    assert "200 pictures, 10 s" in tools.describe_film(tmp_path, lambda at, length: movie[at : at + length])


@pytest.mark.parametrize("name", ["isoinfo", "bsdtar", "7z"])
def test_each_lister_counts_the_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    """Whichever is the only one installed; directories don't count."""
    found = next((p for p in (Path(d) / name for d in os.get_exec_path()) if p.exists()), None)
    if found is None:
        pytest.skip(f"{name} is not installed")
    path = tmp_path / "disc.iso"
    path.write_bytes(disc.image(disc_files(), "LABEL"))
    wrapper = tmp_path / "bin" / name
    wrapper.parent.mkdir()
    wrapper.write_text(f'#!/bin/sh\nPATH={os.environ["PATH"]} exec {found} "$@"\n')
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", str(wrapper.parent))

    told = tools.describe_disc(path, lambda _at, _length: b"")

    assert told.startswith(name)
    assert "53 files" in told


def test_a_program_that_fails_is_as_good_as_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Then the demo's own reader answers."""
    for name in ("isoinfo", "bsdtar", "7z"):
        (tmp_path / name).write_text("#!/bin/sh\nexit 1\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    image = disc.image(disc_files(), "LABEL")

    assert "read by the demo" in tools.describe_disc(tmp_path, lambda at, length: image[at : at + length])


def test_signals_become_exceptions() -> None:
    """Ctrl-C is KeyboardInterrupt, the others say which they were; afterwards all is as before."""
    before = signal.getsignal(signal.SIGTERM)
    interrupts = Interrupts()
    with interrupts.caught():
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        for number in (signal.SIGTERM, signal.SIGHUP):
            with pytest.raises(SystemExit) as ended:
                signal.raise_signal(number)
            assert ended.value.code == 128 + number

    assert signal.getsignal(signal.SIGTERM) is before


def test_a_held_signal_comes_after_the_context() -> None:
    """What must not be interrupted is not, even nested, and the signal is not lost."""
    interrupts, steps = Interrupts(), []

    def hold() -> None:
        with interrupts.held():
            with interrupts.held():
                signal.raise_signal(signal.SIGINT)
                steps.append("inner")
            steps.append("outer")
        steps.append("never")

    with interrupts.caught(), pytest.raises(KeyboardInterrupt):
        hold()

    assert steps == ["inner", "outer"]


def test_ignored_signals_stay_ignored() -> None:
    """As nohup(1) wants it."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interrupts().caught():
            signal.raise_signal(signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_the_mount_sees_no_settings_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither environment nor file nor proxy; a service manager hears nothing from it."""
    for name in ("MOUNTDL_SPLIT", "http_proxy", "HTTPS_PROXY", "NOTIFY_SOCKET"):
        monkeypatch.setenv(name, "x")

    seen = environment(tmp_path)

    assert not {"MOUNTDL_SPLIT", "http_proxy", "HTTPS_PROXY", "NOTIFY_SOCKET"} & seen.keys()
    assert seen["XDG_CONFIG_HOME"].startswith(str(tmp_path))
    assert seen["PATH"] == os.environ["PATH"]
