"""`mountdl fetch`: whole files without a mount, as a user gets them: the command, real mirrors, real files."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from mountdl.errors import ExitStatus
from tests.support.content import pattern
from tests.support.fetches import STORE, fetched, names
from tests.support.httpserver import Request, Stream
from tests.support.machine import patience
from tests.support.mirrors import Mirror, Mirrors, lying, paced, refusing
from tests.support.mounts import command
from tests.support.ports import free_port
from tests.support.samples import CHUNK, metalink3, publish
from tests.support.swarms import info_hash, many_files, seeding, tracker, with_tracker

NAME = "film.bin"
DATA = pattern(3_000_000)


def test_a_file_is_there_whole_and_nothing_else(mirrors: Mirrors, source: Path, tmp_path: Path) -> None:
    """Its name is told; one mirror lies, and the file is right."""
    urls = [mirrors.add("liar", {NAME: DATA}, lying(CHUNK, 2)).of(NAME), mirrors.add("good", {NAME: DATA}).of(NAME)]
    publish(source, NAME, DATA, urls)
    done = fetched("-d", tmp_path / "out", source)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{tmp_path / 'out' / NAME}\n"
    assert DATA == (tmp_path / "out" / NAME).read_bytes()
    assert names(tmp_path / "out") == [NAME]
    assert not (tmp_path / "out" / STORE).exists()
    assert stat.S_IMODE((tmp_path / "out" / NAME).stat().st_mode) & 0o444 == 0o444 & ~_umask()


def test_what_is_there_is_compared_and_never_replaced(mirrors: Mirrors, source: Path, tmp_path: Path) -> None:
    """The same file is fine, and costs nothing; another one stays as it is."""
    mirror = mirrors.add("only", {NAME: DATA})
    publish(source, NAME, DATA, [mirror.of(NAME)])
    assert fetched("-d", tmp_path, source).returncode == 0
    asked = len(mirror.asked)
    again = fetched("-d", tmp_path, source)
    assert (again.returncode, again.stdout) == (0, f"{tmp_path / NAME}\n")
    assert len(mirror.asked) == asked

    (tmp_path / NAME).write_bytes(DATA[:-1] + b"?")
    other = fetched("-d", tmp_path, source)
    assert (other.returncode, other.stdout) == (32, "")
    assert f"{NAME}: this name is taken by another file" in other.stderr
    assert (tmp_path / NAME).read_bytes().endswith(b"?")


def test_what_can_not_be_had_is_named_and_the_rest_comes(mirrors: Mirrors, source: Path, tmp_path: Path) -> None:
    """A mirror that refuses, a URL that leads nowhere, a descriptor that is none: one sentence each."""
    publish(
        source, "gone.bin", DATA, [mirrors.add("gone", {"gone.bin": DATA}, refusing("404 Not Found")).of("gone.bin")]
    )
    (source / "broken.meta4").write_text("<metalink")
    mirror = mirrors.add("good", {NAME: DATA})
    done = fetched("-d", tmp_path / "out", source, mirror.of("nothing"), mirror.of(NAME))

    assert done.returncode != 0
    assert done.stdout == f"{tmp_path / 'out' / NAME}\n"
    assert "mountdl: gone.bin: no source is left: " in done.stderr
    assert "mountdl: broken.meta4: " in done.stderr
    assert f"mountdl: {mirror.of('nothing')}: answered 404" in done.stderr
    assert done.stderr.count("\n") == 3
    assert DATA == (tmp_path / "out" / NAME).read_bytes()


def test_pieces_that_prove_less_than_the_whole_do_not_end_it(mirrors: Mirrors, source: Path, tmp_path: Path) -> None:
    """SHA-1 of each piece matches, SHA-256 of the whole does not: status 32, and no file."""
    said = metalink3(NAME, DATA, [mirrors.add("only", {NAME: DATA}).of(NAME)])
    wrong = said.replace('<hash type="md5">', f'<hash type="sha256">{"0" * 64}</hash><hash type="md5">')
    (source / f"{NAME}.metalink").write_text(wrong)
    done = fetched("-d", tmp_path / "out", source)

    assert (done.returncode, done.stdout) == (32, "")
    assert f"mountdl: {NAME}: " in done.stderr or f"mountdl: {NAME} is not what its digest" in done.stderr
    assert not (tmp_path / "out" / NAME).exists()

    (source / f"{NAME}.metalink").write_text(said)
    assert fetched("-d", tmp_path / "out", source).returncode == 0
    assert DATA == (tmp_path / "out" / NAME).read_bytes()


def test_a_status_says_why_no_mirror_would_do(mirrors: Mirrors, source: Path, tmp_path: Path) -> None:
    """One that will not, one that wants a password, one whose bytes are others, one that fails again and again."""
    mute = refusing("503 Service Unavailable", "Retry-After: 0")
    kinds = {3: refusing("404 Not Found"), 24: refusing("401 Unauthorized"), 32: lying(CHUNK, 1), 17: mute}
    for status, manner in kinds.items():
        for old in source.iterdir():
            old.unlink()
        mirror = mirrors.add(f"m{status}", {NAME: DATA}, manner)
        publish(source, NAME, DATA, [mirror.of(NAME)])
        done = fetched("-d", tmp_path / str(status), "--max-tries=2", "--retry-wait=0.1", source)
        assert (done.returncode, done.stdout) == (status, "")
        assert f"mountdl: {NAME}: no source is left: {mirror.of(NAME)}: " in done.stderr


def test_what_was_stopped_goes_on(mirrors: Mirrors, source: Path, tmp_path: Path) -> None:
    """Ctrl-C keeps what is here, says so, and leaves no file that is not whole; the same command ends it."""
    mirror = mirrors.add("slow", {NAME: DATA}, paced(1_000_000))
    publish(source, NAME, DATA, [mirror.of(NAME)])
    out = tmp_path / "out"
    process = subprocess.Popen(
        command("fetch", "-d", out, "--max-connection-per-server=1", source),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    until = time.monotonic() + patience(60)
    while mirror.sent < 1_500_000 and time.monotonic() < until:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    told, complaint = process.communicate(timeout=patience(60))
    assert (process.returncode, told) == (130, "")
    assert complaint == f"mountdl: stopped; what is here waits in {out / STORE}: the same command goes on with it\n"
    assert not (out / NAME).exists()

    before = mirror.sent
    mirror.manner = paced(None)
    assert fetched("-d", out, source).returncode == 0
    assert DATA == (out / NAME).read_bytes()
    assert mirror.sent - before < len(DATA) - 500_000
    assert names(out) == [NAME]


def test_a_list_is_fetched_line_by_line(mirrors: Mirrors, source: Path, tmp_path: Path) -> None:
    """Mirrors of one file, a name of its own, a digest that is wrong, the address of a metalink, and a path."""
    one, two = mirrors.add("one", {"a.bin": DATA}), mirrors.add("two", {"a.bin": DATA})
    meta4 = publish(source, NAME, DATA, [mirrors.add("b", {NAME: DATA}).of(NAME)]).read_bytes()
    third = mirrors.add("c", {"film.meta4": meta4, "c.bin": pattern(1000, 3)})
    lines = [
        "# files",
        f"{one.of('a.bin')}\t{two.of('a.bin')}",
        third.of("film.meta4"),
        third.of("c.bin"),
        "  out=renamed.bin",
        third.of("c.bin"),
        f"  checksum=sha-256={'0' * 64}",
    ]
    done = fetched("-d", tmp_path / "out", "-i", "-", text="\n".join(lines))

    assert done.returncode != 0
    assert "c.bin: " in done.stderr
    assert {path for path in names(tmp_path / "out") if not path.startswith(STORE)} == {
        "a.bin", NAME, "renamed.bin",
    }  # fmt: skip
    assert DATA == (tmp_path / "out" / "a.bin").read_bytes() == (tmp_path / "out" / NAME).read_bytes()
    assert fetched("-i", tmp_path / "missing").returncode == 3


def test_two_fetches_into_one_folder_do_not_meet(mirrors: Mirrors, source: Path, tmp_path: Path) -> None:
    """What one of them is at stays when the other ends; who ends last clears away, failures without a byte, too."""
    go_on, out, small = threading.Event(), tmp_path / "out", pattern(1000, 9)

    async def held(mirror: Mirror, data: bytes, request: Request, stream: Stream) -> bool:
        mirror.sent += 1
        while not go_on.is_set():
            await trio.sleep(0.02)
        return await paced(None)(mirror, data, request, stream)

    slow = mirrors.add("slow", {"slow.bin": DATA}, held)
    publish(source, "slow.bin", DATA, [slow.of("slow.bin")])
    publish(source, NAME, small, [mirrors.add("gone", {NAME: small}, refusing("404 Not Found")).of(NAME)])
    words = command("fetch", "-d", out, "--max-tries=0", source / "slow.bin.meta4")
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        until = time.monotonic() + patience(60)
        while not slow.sent and time.monotonic() < until:
            time.sleep(0.02)
        assert fetched("-d", out, source / f"{NAME}.meta4").returncode == 3
        assert (out / STORE).is_dir()
        go_on.set()
        told, complaint = process.communicate(timeout=patience(60))
    assert (process.returncode, told, complaint) == (0, f"{out / 'slow.bin'}\n", "")
    assert os.listdir(out) == ["slow.bin"]
    assert fetched("-d", out, source / f"{NAME}.meta4").returncode == 3
    assert os.listdir(out) == ["slow.bin"]


def test_the_same_bytes_under_two_names_are_fetched_once(mirrors: Mirrors, source: Path, tmp_path: Path) -> None:
    """The second name is a file of its own."""
    mirror = mirrors.add("only", {NAME: DATA})
    publish(source, "one.bin", DATA, [mirror.of(NAME)])
    publish(source, "two.bin", DATA, [mirror.of(NAME)])
    done = fetched("-d", tmp_path / "out", source)

    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(names(tmp_path / "out")) == ["one.bin", "two.bin"]
    assert DATA == (tmp_path / "out" / "one.bin").read_bytes() == (tmp_path / "out" / "two.bin").read_bytes()
    assert mirror.sent < 2 * len(DATA)


def test_a_torrent_and_a_magnet_link_are_fetched_from_their_swarm(tmp_path: Path) -> None:
    """All files of the one, below its name; of the other those that it selects."""
    pytest.importorskip("libtorrent")
    files = {"one.bin": pattern(300_000, 1), "sub/two.bin": pattern(500_000, 2), "three.bin": pattern(10, 3)}
    made = many_files(tmp_path / "seed", files)
    alone = "--enable-dht=false", "--enable-peer-exchange=false", f"--listen-port={free_port()}"
    with seeding(made, tmp_path / "seed") as peer, tracker() as (names_, url):
        names_.peers = [peer.port]
        (tmp_path / "t.torrent").write_bytes(with_tracker(made, url))
        done = fetched("-d", tmp_path / "out", *alone, tmp_path / "t.torrent")
        assert (done.returncode, done.stderr) == (0, "")
        found = {Path(path).name: (tmp_path / "out" / path).read_bytes() for path in names(tmp_path / "out")}
        assert found == {Path(path).name: data for path, data in files.items()}

        link = f"magnet:?xt=urn:btih:{info_hash(made)}&so=0-1&x.pe={peer.address}"
        done = fetched("-d", tmp_path / "again", *alone, link)
        assert (done.returncode, done.stderr) == (0, "")
        assert len(names(tmp_path / "again")) == 2


def test_a_magnet_is_refused_where_there_is_no_libtorrent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No peer can ever tell what is in it: it was waited for without a word, for ever."""
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "libtorrent.py").write_text("raise ImportError('not on this machine')")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'broken'}:{Path(__file__).parents[2]}")
    done = fetched("-d", tmp_path / "out", f"magnet:?xt=urn:btih:{'a' * 40}&dn=film")

    assert done.returncode == ExitStatus.NOT_FOUND
    assert "film: swarm: this needs libtorrent 2.1 or newer" in done.stderr
    assert "pip install libtorrent): not on this machine" in done.stderr


def test_a_magnet_that_nobody_has_holds_up_no_other_file(mirrors: Mirrors, source: Path, tmp_path: Path) -> None:
    """It is waited for, longer than mirrors are, and said so; what lies beside it comes."""
    pytest.importorskip("libtorrent")
    publish(source, NAME, DATA, [mirrors.add("only", {NAME: DATA}).of(NAME)])
    (source / "m.magnet").write_text(f"magnet:?xt=urn:btih:{'a' * 40}&dn=nobody&x.pe=127.0.0.1:1")
    alone = "--enable-dht=false", "--enable-peer-exchange=false", f"--listen-port={free_port()}"
    with subprocess.Popen(
        command("fetch", "-d", tmp_path / "out", "--summary-interval=1", *alone, source),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == f"{tmp_path / 'out' / NAME}\n"
        said = next((line for line in process.stderr if line.startswith("1 of 1 file")), "")
        assert said.startswith("1 of 1 file, 1 source yet to tell all files, nobody: ")
        process.send_signal(signal.SIGINT)
        _, complaint = process.communicate(timeout=patience(60))
    assert process.returncode == 130
    assert complaint.endswith("mountdl: stopped\n")  # nothing waits to be gone on with


def test_a_name_that_is_taken_is_the_trouble_of_one_file(mirrors: Mirrors, tmp_path: Path) -> None:
    """Others with the same bytes come all the same."""
    mirror, other = mirrors.add("slow", {NAME: DATA}, paced(3_000_000)), mirrors.add("other", {NAME: DATA[:1000]})
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
    publish(first, "one.bin", DATA, [mirror.of(NAME)])
    publish(first, "two.bin", DATA, [mirror.of(NAME)])
    publish(first, "same.bin", DATA[:1000], [other.of(NAME)])
    publish(second, "same.bin", DATA, [mirror.of(NAME)])
    done = fetched("-d", tmp_path / "out", first, second)

    assert done.returncode == 28
    assert (
        done.stderr
        == "mountdl: same.bin: another source has a file of this name; if they are mirrors of one file, name it with --out\n"
    )
    assert {"one.bin", "same.bin", "two.bin"} == set(names(tmp_path / "out"))
    assert DATA == (tmp_path / "out" / "two.bin").read_bytes()


def test_no_name_leads_into_the_store(mirrors: Mirrors, source: Path, tmp_path: Path) -> None:
    """A file there would be taken for what is to be gone on with; a link to it leads there, too."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "link").symlink_to(STORE)
    for name in (STORE, f"{STORE}/contents/aa/x.data", "link/x"):
        for old in source.iterdir():
            old.unlink()
        publish(source, "x", DATA, [mirrors.add("m", {"x": DATA}).of("x")])
        described = (source / "x.meta4").read_text().replace('<file name="x"', f'<file name="{name}"')
        (source / "x.meta4").write_text(described)
        done = fetched("-d", out, source / "x.meta4")
        assert (done.returncode, done.stdout) == (28, "")
        assert f"{STORE} is kept for what is not whole" in done.stderr


def test_nobody_who_listens_is_no_reason_to_stop(mirrors: Mirrors, source: Path, tmp_path: Path) -> None:
    """All comes, and the status says that its names could not be told: no traceback."""
    mirror = mirrors.add("only", {NAME: DATA, "other": DATA[:1000]})
    words = command("fetch", "-d", tmp_path / "out", mirror.of(NAME), mirror.of("other"), mirror.of("nothing"))
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            words, stdout=writing, stderr=subprocess.PIPE, text=True, timeout=patience(90), check=False
        )
        assert done.returncode == 128 + signal.SIGPIPE
        assert done.stderr == f"mountdl: {mirror.of('nothing')}: answered 404\n"
        assert DATA == (tmp_path / "out" / NAME).read_bytes()
        assert DATA[:1000] == (tmp_path / "out" / "other").read_bytes()
        (tmp_path / "out" / NAME).unlink()
        done = subprocess.run(
            words, stdout=subprocess.PIPE, stderr=writing, text=True, timeout=patience(90), check=False
        )
        assert f"{tmp_path / 'out' / NAME}\n" in done.stdout
    finally:
        os.close(writing)


def test_what_was_killed_between_two_names_is_whole(mirrors: Mirrors, source: Path, tmp_path: Path) -> None:
    """A file that has its name and is still the store's is known by that, digest or none; the store lets it go."""
    url, out = mirrors.add("only", {NAME: DATA}).of(NAME), tmp_path / "out"
    ending = "import os; real = os.link; os.link = lambda *a, **k: (real(*a, **k), os.kill(os.getpid(), 9))"
    program = f"import sys; {ending}; sys.argv[0] = 'mountdl'; from mountdl.__main__ import main; main()"
    words = [sys.executable, "-c", program, "fetch", "-d", str(out), url]
    assert subprocess.run(words, capture_output=True, timeout=patience(60), check=False).returncode == -signal.SIGKILL
    assert (out / NAME).stat().st_nlink == 2

    done = fetched("-d", out, url)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{out / NAME}\n", "")
    assert (out / NAME).stat().st_nlink == 1
    assert names(out) == [NAME]


def test_a_name_that_is_no_file_is_left_alone(mirrors: Mirrors, source: Path, tmp_path: Path) -> None:
    """A folder, a pipe that nobody fills, a link to nothing."""
    publish(source, NAME, DATA, [mirrors.add("only", {NAME: DATA}).of(NAME)])
    makers: list[Callable[[Path], object]] = [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("nowhere")]
    for number, make in enumerate(makers):
        out = tmp_path / str(number)
        out.mkdir()
        make(out / NAME)
        before = (out / NAME).lstat()
        done = fetched("-d", out, source)
        assert (done.returncode, done.stdout) == (32, "")
        assert f"{NAME}: this name is taken" in done.stderr
        assert os.path.samestat(before, (out / NAME).lstat())


def test_mistakes_are_told_before_anything_is_fetched(tmp_path: Path, source: Path) -> None:
    """Each with a sentence and the status of its kind."""
    (tmp_path / "file").write_text("")
    assert fetched().returncode == 28
    for arguments, status, said in (
        (["-d", tmp_path / "file", source], 28, "is no folder"),
        (["-j", "0", source], 28, "--max-concurrent-downloads: '0' is not allowed"),
        (["--summary-interval", "x", source], 28, "--summary-interval: 'x' is not allowed"),
        (["--allow-other", source], 28, "--allow-other"),
        ([tmp_path / "nowhere"], 3, "does not exist"),
        ([source], 3, "there is nothing in it"),
    ):
        done = fetched("-d", tmp_path / "out", *arguments) if "-d" not in arguments else fetched(*arguments)
        assert (done.returncode, done.stdout) == (status, ""), done.stderr
        assert said in done.stderr
        assert done.stderr.count("\n") == 1


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
