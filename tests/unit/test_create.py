"""Descriptors of local files: what is written is read back the same, by mountdl and by other programs."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import pty
import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mountdl.control import create
from mountdl.control.cli import Jobs, main
from mountdl.control.create import FORMATS, Order
from mountdl.control.create_files import find
from mountdl.descriptors import bencode, compose, parse
from mountdl.descriptors.model import Descriptor, Entry, MirrorRef
from mountdl.descriptors.sums import PieceSums, Sums, piece_length
from mountdl.digests import librhash
from mountdl.errors import ExitStatus, UsageError
from mountdl.integrity import digest_length

MIRROR = "https://mirror.example.org/pub/"
LENGTH = 16384
FILES = {"a.bin": bytes(range(251)) * 300, "sub/b ü&<.bin": b"x" * LENGTH, "sub/empty": b"", "z": b"1"}
HASHES = {"sha-256": hashlib.sha256, "sha-1": hashlib.sha1, "md5": hashlib.md5}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a folder called "top" with `FILES` in it, in the working directory."""
    monkeypatch.chdir(tmp_path)
    for name, data in FILES.items():
        path = tmp_path / "top" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return tmp_path / "top"


def made(kind: str, *files: Path | str, mirrors: tuple[str, ...] = (MIRROR,), length: int | None = LENGTH) -> Path:
    out = Path(f"made{FORMATS[kind]}").absolute()
    create.run(Order(tuple(map(Path, files)), str(out), kind, mirrors, length))
    return out


def read_back(path: Path) -> Descriptor:
    """Return what inspect reads, which must have nothing to remark."""
    found = parse(path.name, path.read_bytes())
    assert found.cautions == ()
    return found


def expected_pieces(data: bytes, algorithm: str) -> bytes:
    return b"".join(HASHES[algorithm](data[at : at + LENGTH]).digest() for at in range(0, len(data), LENGTH))


@pytest.mark.parametrize(
    ("kind", "algorithms", "pieces"),
    [("meta4", ["sha-256"], "sha-256"), ("metalink3", ["sha-256", "sha-1", "md5"], "sha-1")],
)
def test_metalinks_are_read_back_the_same(folder: Path, kind: str, algorithms: list[str], pieces: str) -> None:
    """Names, sizes, digests, pieces and mirrors in their order; a folder's files have their paths below it."""
    out = made(kind, "top", mirrors=(MIRROR, "ftp://user@second.example.org/x"))
    found = read_back(out)

    assert found.kind == {"meta4": "metalink4", "metalink3": "metalink3"}[kind]
    assert [str(entry.path) for entry in found.entries] == sorted(f"top/{name}" for name in FILES)
    for entry in found.entries:
        data = FILES[str(entry.path).removeprefix("top/")]
        assert entry.size == len(data)
        assert dict(entry.digests) == {name: HASHES[name](data).digest() for name in algorithms}
        assert (entry.pieces.digests if entry.pieces else b"") == expected_pieces(data, pieces)
        below = quote(str(entry.path))
        assert entry.mirrors == (
            MirrorRef(f"{MIRROR}{below}", 1),
            MirrorRef(f"ftp://user@second.example.org/x/{below}", 2),
        )


def test_a_single_file_and_its_own_url(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A URL that ends in a slash is that of its folder; the default name is that of the file."""
    assert (
        main(
            ["create", "--mirror", "http://h/x?y", "--mirror", "http://h/d/", "top/a.bin"],
            JOBS,
        )
        == 0
    )
    [entry] = read_back(Path("a.bin.meta4")).entries

    assert [mirror.url for mirror in entry.mirrors] == ["http://h/x?y", "http://h/d/a.bin"]
    assert capsys.readouterr().out == "a.bin.meta4: 1 file, 73.5 KiB\n"


def _unused(*_: Any) -> Any:
    raise AssertionError("no mount is wanted")


JOBS = Jobs(_unused, _unused, _unused)


def test_the_kind_follows_the_name(folder: Path) -> None:
    """And the name the kind."""
    for suffix, kind in (
        (".metalink", "metalink3"),
        (".magnet", "magnet"),
        (".torrent", "torrent"),
        (".meta4", "metalink4"),
        (".x", "metalink4"),
    ):
        create.run(Order((folder,), f"out{suffix}", None, (MIRROR,)))
        assert parse(f"out{suffix}", Path(f"out{suffix}").read_bytes()).kind == kind
    create.run(Order((folder / "z",), None, "torrent"))
    assert Path("z.torrent").exists()


def test_magnets_are_read_back_the_same(folder: Path) -> None:
    """One link for each file, with every topic that costs little."""
    found = read_back(made("magnet", "top"))
    topics = ["ed2k", "sha-256", "sha-1", "tth", "aich"] if librhash.available() else ["sha-256", "sha-1"]

    assert [magnet.name for magnet in found.magnets] == ["a.bin", "b ü&<.bin", "empty", "z"]
    for magnet, name in zip(found.magnets, sorted(FILES), strict=True):
        assert magnet.size == len(FILES[name])
        assert list(magnet.digests) == topics
        assert magnet.digests["sha-1"] == hashlib.sha1(FILES[name]).digest()
        assert [ref.url for ref in magnet.sources] == [f"{MIRROR}top/{quote(name)}"]
    assert [entry.path.name for entry in found.entries] == ["a.bin", "b ü&<.bin", "empty", "z"]


def test_magnets_of_two_files_of_one_name(folder: Path) -> None:
    """Links know no folders."""
    (folder / "sub" / "z").write_bytes(b"other")

    with pytest.raises(UsageError, match="two files are called z"):
        made("magnet", "top")


def test_a_torrent_is_read_back_the_same(folder: Path) -> None:
    """Of a folder and of a file; web seeds as BEP 19 has them."""
    found = read_back(made("torrent", "top")).torrent
    assert found is not None
    assert {str(file.path): (file.size, file.urls) for file in found.files} == {
        f"top/{name}": (len(data), (f"{MIRROR}top/{quote(name, safe='/')}",)) for name, data in FILES.items()
    }
    whole = b"".join(FILES[name] for name in sorted(FILES))
    assert bencode.decode(found.info).value[b"pieces"] == expected_pieces(whole, "sha-1")  # type: ignore[index,call-overload]
    [entry] = read_back(made("torrent", "top/a.bin")).entries
    assert entry.pieces is not None
    assert entry.pieces.digests == expected_pieces(FILES["a.bin"], "sha-1")
    assert [ref.url for ref in entry.mirrors] == [f"{MIRROR}a.bin"]
    with pytest.raises(UsageError, match="one folder"):
        made("torrent", "top/a.bin", "top/z")


def test_the_same_files_give_the_same_bytes(folder: Path) -> None:
    """No date, no random order."""
    for kind in FORMATS:
        first = made(kind, "top").read_bytes()
        assert made(kind, "top").read_bytes() == first


# What is refused, and what never happens


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["nowhere"], ExitStatus.NOT_FOUND, "does not exist"),
        (["--mirror", "file:///etc/passwd", "top/z"], ExitStatus.BAD_OPTION, "scheme file"),
        (["--mirror", "sftp://h/", "--format", "torrent", "top"], ExitStatus.BAD_OPTION, "scheme sftp"),
        (["--piece-length", "3", "top/z"], ExitStatus.BAD_OPTION, "1K to 512M"),
        (["--piece-length", "x", "top/z"], ExitStatus.BAD_OPTION, "a number with K"),
        (["--format", "zip", "top/z"], ExitStatus.BAD_OPTION, "zip"),
        (["top/z", "top/a.bin"], ExitStatus.BAD_OPTION, "-o"),
        (["-o", "x.meta4", "top/z", "top/z"], ExitStatus.BAD_OPTION, "two of the files"),
        (["-o", "top/z", "top/z"], ExitStatus.BAD_OPTION, "read and written"),
        (["-o", "no/such/x.meta4", "top/z"], ExitStatus.IO, "can't be written"),
        (["pipe"], ExitStatus.BAD_OPTION, "neither a file"),
        (["void"], ExitStatus.NOT_FOUND, "no file"),
        ([r"back\slash"], ExitStatus.BAD_OPTION, "backslash"),
        ([b"\xff".decode(errors="surrogateescape")], ExitStatus.BAD_OPTION, "no descriptor can have this name"),
        ([], ExitStatus.BAD_OPTION, "FILE"),
    ],
)
def test_refusals(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], status: int, said: str
) -> None:
    """A sentence and aria2's exit status; nothing is left behind."""
    os.mkfifo("pipe")
    Path("void").mkdir()
    Path(r"back\slash").write_bytes(b"x")
    Path(b"\xff".decode(errors="surrogateescape")).write_bytes(b"x")
    before = sorted(path for path in Path().rglob("*"))

    assert main(["create", *arguments], JOBS) == status
    shown = capsys.readouterr()
    assert said in shown.err
    assert shown.out == ""
    assert sorted(path for path in Path().rglob("*")) == before


def test_a_file_that_changes_meanwhile(folder: Path) -> None:
    """Its digests would be of nothing that ever was."""
    [found] = find([folder / "z"], None)
    (folder / "z").write_bytes(b"22")

    with pytest.raises(UsageError, match="changed while"):
        create.read(found, Sums((), None), create.Progress(1))


def test_output_is_whole_or_not_there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An earlier one stays until the new one is on disk; its permissions stay, a link keeps its place."""
    Path("real.meta4").write_text("earlier")
    Path("real.meta4").chmod(0o640)
    Path("out.meta4").symlink_to("real.meta4")

    def broken(portions: object, descriptor: int) -> None:
        os.write(descriptor, b"half")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(create, "_pour", broken)
        with pytest.raises(UsageError, match="No space left") as caught:
            create.run(Order((folder,), "out.meta4"))
    assert caught.value.exit_status is ExitStatus.DISK_FULL
    assert Path("out.meta4").read_text() == "earlier"
    assert sorted(path.name for path in Path().iterdir()) == ["out.meta4", "real.meta4", "top"]
    create.run(Order((folder,), "out.meta4"))
    assert Path("out.meta4").is_symlink()
    assert parse("x", Path("real.meta4").read_bytes()).kind == "metalink4"
    assert Path("real.meta4").stat().st_mode & 0o777 == 0o640


def test_output_is_not_part_of_itself(folder: Path) -> None:
    """A descriptor in the folder that it describes; what is no file is passed over."""
    os.mkfifo(folder / "pipe")
    out = folder / "top.torrent"
    for _ in range(2):
        create.run(Order((folder,), str(out)))
    found = parse(out.name, out.read_bytes()).torrent
    assert found is not None
    assert {str(file.path) for file in found.files} == {f"top/{name}" for name in FILES}


def test_standard_output_and_a_warning(folder: Path) -> None:
    """With -o - only the descriptor goes there; without a mirror a warning says so."""
    done = subprocess.run(
        [sys.executable, "-m", "mountdl", "create", "-o", "-", "top/z"], capture_output=True, check=True
    )

    assert parse("x.meta4", done.stdout).cautions[0].code == "no-sources"
    assert done.stderr == b"mountdl: warning: without --mirror it does not say where the files can be had\n"


@pytest.mark.parametrize(("out", "warned"), [("x.torent", True), ("x", True), ("x.TORRENT", False), ("x.meta4", False)])
def test_a_name_that_no_mount_goes_by(folder: Path, out: str, warned: bool, capsys: pytest.CaptureFixture[str]) -> None:
    """A typing error in the suffix makes a metalink that a mounted folder never shows: it is told of."""
    create.run(Order((folder / "z",), out, mirrors=("http://h/z",)))

    said = capsys.readouterr().err
    assert warned == (f"what {out} describes" in said)
    assert said.count("\n") == warned


def test_progress_on_a_terminal(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line that is gone at the end; nothing where there is no terminal (the other tests)."""
    here, there = pty.openpty()
    with open(there, "w") as terminal, monkeypatch.context() as patched:
        patched.setattr(sys, "stderr", terminal)
        create.run(Order((folder,), "out.meta4", mirrors=(MIRROR,)))
    said = os.read(here, 10_000).decode()
    os.close(here)

    assert re.search(r"\d+%.*a\.bin", said)
    assert said.endswith("\r\x1b[K")


def test_memory_does_not_grow_with_the_file(folder: Path) -> None:
    """A sparse file of 256 MiB in less than 100 MB of address space beyond what the program itself takes."""
    with (folder / "large").open("wb") as file:
        file.truncate(256 << 20)

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_DATA, (120 << 20, 120 << 20))

    command = [sys.executable, "-m", "mountdl", "create", "--format", "meta4", "-o", "x.meta4", "top/large"]
    subprocess.run(command, check=True, capture_output=True, preexec_fn=limit, timeout=60)
    [caution] = parse("x.meta4", Path("x.meta4").read_bytes()).cautions
    assert caution.code == "no-sources"


# Laws


@given(st.integers(0, 1 << 44))
def test_laws_of_the_piece_length(size: int) -> None:
    """A power of two from 256 KiB to 16 MiB, and at most 4096 pieces up to 64 GiB."""
    length = piece_length(size)

    assert length & (length - 1) == 0
    assert 256 << 10 <= length <= 16 << 20
    assert size > 64 << 30 or size <= 4096 * length
    assert length == 256 << 10 or size > 4096 * length // 2


@given(st.lists(st.binary(max_size=50), max_size=8), st.integers(1, 17))
def test_pieces_in_any_portions(portions: list[bytes], length: int) -> None:
    """How the bytes come does not matter."""
    chopped = PieceSums("sha-1", length)
    summed = Sums(["md5"], chopped)
    for portion in portions:
        summed.update(memoryview(portion))
    data = b"".join(portions)

    assert summed.digests() == {"md5": hashlib.md5(data).digest()}
    expected = b"".join(hashlib.sha1(data[at : at + length]).digest() for at in range(0, len(data), length))
    assert chopped.finish().digests == expected


NAME = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], exclude_characters="/\\\ufffe\uffff"),
    min_size=1,
    max_size=20,
).filter(lambda text: text.strip() == text and text not in {".", ".."} and text.isprintable())
ENTRIES = st.dictionaries(
    NAME,
    st.tuples(st.integers(0, 1 << 62), st.binary(min_size=32, max_size=32), st.lists(st.integers(1, 5), max_size=2)),
    min_size=1,
    max_size=4,
)


@settings(max_examples=150)
@given(ENTRIES)
def test_any_names_and_urls_come_back(files: dict[str, tuple[int, bytes, list[int]]]) -> None:
    """Whatever the names hold, in all kinds that tell them."""
    entries = [
        Entry(
            PurePosixPath(name), size, {"sha-256": digest}, mirrors=(MirrorRef(f"http://h/?a=1&b=<{quote(name)}>", 1),)
        )
        for name, (size, digest, _) in files.items()
    ]
    for write in (compose.metalink4, compose.metalink3):
        found = parse("x.meta4", "".join(write(entries, 'a"b&c/1')).encode())
        assert list(found.entries) == entries
    magnets = parse("x.magnet", "".join(compose.magnets(entries)).encode()).magnets
    assert [(each.name, each.size, dict(each.digests)) for each in magnets] == [
        (str(entry.path), entry.size, dict(entry.digests)) for entry in entries
    ]


VALUES = st.recursive(
    st.integers(-(1 << 63), 1 << 63) | st.binary(max_size=20),
    lambda below: st.lists(below, max_size=4) | st.dictionaries(st.binary(max_size=9), below, max_size=4),
    max_leaves=20,
)


@given(VALUES)
def test_bencode_comes_back(value: bencode.Value) -> None:
    """What is written is as strict as can be."""
    decoded = bencode.decode(bencode.encode(value))

    assert decoded.value == value
    assert decoded.loose == ()


# Other programs


@pytest.mark.skipif(shutil.which("aria2c") is None, reason="needs aria2c")
@pytest.mark.parametrize("kind", ["meta4", "metalink3", "torrent"])
def test_aria2_reads_the_same(folder: Path, kind: str) -> None:
    """The files, their sizes, and of a torrent its info-hash, pieces and web seeds."""
    out = made(kind, "top")
    done = subprocess.run(
        ["aria2c", "-S", out], capture_output=True, text=True, check=True, env={**os.environ, "LC_ALL": "C.UTF-8"}
    )
    listed = re.findall(r"^ +\d+\|(.*)\n +\|.*?\(?([\d,]+)B?\)?$", done.stdout, re.MULTILINE)

    # aria2 1.36 shows an ampersand of a name as the reference that its XML parser hands it.
    listed = [(path.replace("&#38;", "&"), size) for path, size in listed]
    prefix = "./" if kind == "torrent" else ""
    assert {path.removeprefix(prefix): int(size.replace(",", "")) for path, size in listed} == {
        f"top/{name}": len(data) for name, data in FILES.items()
    }
    if kind == "torrent":
        found = read_back(out).torrent
        assert found is not None
        assert found.info_hash_v1 is not None
        assert f"Info Hash: {found.info_hash_v1.hex()}\n" in done.stdout
        assert f"The Number of Pieces: {found.piece_count}\n" in done.stdout
        assert f"URL List:\n {MIRROR}\n" in done.stdout


@pytest.mark.filterwarnings("ignore:.*is deprecated:DeprecationWarning")
def test_libtorrent_reads_the_same(folder: Path) -> None:
    """Info-hash, files, pieces and web seeds; of a folder and of one file."""
    libtorrent = pytest.importorskip("libtorrent")
    for what in ("top", "top/a.bin"):
        out = made("torrent", what)
        found = read_back(out).torrent
        assert found is not None
        assert found.info_hash_v1 is not None
        info = libtorrent.torrent_info(str(out))

        assert info.info_hashes().v1.to_bytes() == found.info_hash_v1
        assert not info.info_hashes().has_v2()
        assert (info.piece_length(), info.num_pieces()) == (found.piece_length, found.piece_count)
        layout = info.files()
        assert [(layout.file_path(i), layout.file_size(i)) for i in range(layout.num_files())] == [
            (str(file.path), file.size) for file in found.files
        ]
        whole = b"".join(FILES[name] for name in sorted(FILES)) if what == "top" else FILES["a.bin"]
        assert b"".join(info.hash_for_piece(i) for i in range(info.num_pieces())) == expected_pieces(whole, "sha-1")
        assert [seed["url"] for seed in info.web_seeds()] == [MIRROR]


def test_libtorrent_reads_the_same_magnets(folder: Path) -> None:
    """The info-hash is that of the torrent that is made of the file, its mirrors are web seeds."""
    libtorrent = pytest.importorskip("libtorrent")
    lines = made("magnet", "top", mirrors=(MIRROR, "sftp://h/d/")).read_text().splitlines()
    for line, name in zip(lines, sorted(FILES), strict=True):
        theirs = None if not FILES[name] else libtorrent.parse_magnet_uri(line)
        [ours] = parse("x.magnet", line.encode()).magnets
        if theirs is None:
            assert ours.btih is None
            continue
        create.run(Order((folder / name,), "one.torrent", "torrent", (), LENGTH))
        found = parse("one.torrent", Path("one.torrent").read_bytes()).torrent
        assert found is not None
        assert theirs.info_hashes.v1.to_bytes() == ours.btih == found.info_hash_v1
        assert theirs.name == ours.name == PurePosixPath(name).name
        assert tuple(theirs.url_seeds) == ours.web_seeds == (f"{MIRROR}top/{quote(name)}",)


@pytest.mark.skipif(shutil.which("rhash") is None, reason="needs rhash")
def test_rhash_computes_the_same(folder: Path) -> None:
    """Every topic of the links, and its own links are read as the same files."""
    names = {"ed2k": "ed2k", "sha-256": "sha-256", "sha-1": "sha1", "tth": "tth", "aich": "aich"}
    magnets = read_back(made("magnet", "top")).magnets
    for magnet, name in zip(magnets, sorted(FILES), strict=True):
        for algorithm, value in magnet.digests.items():
            printed = f"%x{{{names[algorithm]}}}"
            done = subprocess.run(["rhash", "-p", printed, folder / name], capture_output=True, text=True, check=True)
            assert bytes.fromhex(done.stdout) == value, (algorithm, name)
            assert len(value) == digest_length(algorithm)
        links = subprocess.run(["rhash", "--magnet", "-a", folder / name], capture_output=True, check=True).stdout
        [theirs] = parse("x.magnet", links.replace(b"magnet:?", b"magnet:?as=http%3A%2F%2Fh%2Fx&")).magnets
        assert (theirs.name, theirs.size) == (magnet.name, magnet.size)
        assert {key: theirs.digests[key] for key in magnet.digests if key in theirs.digests} == dict(magnet.digests)


def test_inspect_tells_the_same(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The commands, one after the other."""
    assert (
        main(
            ["create", "-o", "x.meta4", "--piece-length", "16K", "--mirror", MIRROR, "top"],
            JOBS,
        )
        == 0
    )
    capsys.readouterr()
    assert main(["inspect", "--json", "x.meta4"], JOBS) == 0
    [document] = json.loads(capsys.readouterr().out)["documents"]

    assert document["warnings"] == []
    first = document["files"][0]
    assert first["hashes"] == {"sha-256": hashlib.sha256(FILES["a.bin"]).hexdigest()}
    assert (first["pieces"]["length"], first["pieces"]["count"]) == (LENGTH, 5)
    assert base64.b16decode(first["pieces"]["last"].upper()) == hashlib.sha256(FILES["a.bin"][4 * LENGTH :]).digest()
