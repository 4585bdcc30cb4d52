"""A command starts with what it needs: nothing of the engine where only a daemon is asked."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HEAVY = {"asyncio", "asyncssh", "h11", "httpx", "libtorrent", "lxml", "pyfuse3", "ssl", "tomllib", "trio"}
SLOW = {"ctypes", "dataclasses", "difflib", "email", "hashlib", "inspect", "logging", "subprocess"}
"""Of Python's own library, what takes some milliseconds and is of no use on the way to a daemon."""
_PARSER = "import argparse, sys; argparse.ArgumentParser().add_subparsers(); print(*sys.modules)"
"""What needs some of that itself: since Python 3.14 it may write in colours."""
ENGINE = {"catalog", "content", "descriptors", "engine", "filesystem", "integrity", "settings", "sources", "store"}

_REPORT = """
import sys
from mountdl.__main__ import main
try:
    main()
finally:
    print("\\nimported", *sys.modules, file=sys.stderr)
"""


def python(script: str, *arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    """Run *script* with no environment but this checkout and a *home*."""
    return subprocess.run(
        [sys.executable, "-c", script, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={"XDG_RUNTIME_DIR": str(home), "HOME": str(home), "PYTHONPATH": str(Path(__file__).parents[2])},
    )


def imported(*arguments: str, runtime: Path) -> set[str]:
    """Return the modules that `mountdl *arguments* ` has in memory at its end."""
    done = python(_REPORT, *arguments, home=runtime)
    last = done.stderr.splitlines()[-1].split()
    assert last[:1] == ["imported"], done.stderr
    return set(last[1:])


def run(script: str, *arguments: str, home: Path) -> set[str]:
    """Return the words that *script* prints."""
    done = python(script, *arguments, home=home)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["mount", "--help"],
        ["status"],
        ["status", "--help"],
        ["why", "nothing"],
        ["wait", "nothing"],
        ["unmount", "/nowhere"],
    ],
    ids=" ".join,
)
def test_a_command_that_asks_a_daemon_loads_nothing_of_the_engine(arguments: list[str], tmp_path: Path) -> None:
    """Half of what `mountdl status` took was parsers and libraries that it does not use."""
    got = imported(*arguments, runtime=tmp_path)

    assert "mountdl.control.cli" in got
    assert got & (HEAVY | SLOW) - run(_PARSER, home=tmp_path) == set()
    assert {name for name in got if name.startswith("mountdl.") and name.split(".")[1] in ENGINE} == set()
    assert "mountdl.app" not in got


_MOUNTED = """
import sys, trio
from pathlib import Path
from mountdl.layers import Layers
from mountdl.settings import MountSettings, Settings, StoreSettings

async def main(source):
    layers = Layers(Settings(MountSettings(source, Path("/nowhere")), StoreSettings(Path(source, "cache"))), print)
    async with layers.running(), trio.open_nursery() as nursery:
        watch = await layers.watch(source, lambda built: None)
        await nursery.start(watch.run)
        await layers.equip()
        assert watch.built.tree.files == 1
        nursery.cancel_scope.cancel()

trio.run(main, sys.argv[1])
print(*sys.modules)
"""
_RARER = {"mountdl.sources.ftp.transport", "mountdl.sources.sftp.transport", "mountdl.sources.swarm.transport"}


@pytest.mark.parametrize(("scheme", "loaded"), [("https", set()), ("ftp", _RARER)])
def test_rarer_protocols_are_loaded_where_something_needs_them(scheme: str, loaded: set[str], tmp_path: Path) -> None:
    """A mount of plain mirrors is there 30 ms sooner."""
    text = f"<file name='a'><size>1</size><url>{scheme}://127.0.0.1:9/a</url></file>"
    (tmp_path / "a.meta4").write_text(f'<metalink xmlns="urn:ietf:params:xml:ns:metalink">{text}</metalink>')

    assert loaded == _RARER & run(_MOUNTED, str(tmp_path), home=tmp_path)


_METALINK = '<metalink xmlns="urn:ietf:params:xml:ns:metalink"><file name="a"><url>https://h/a</url></file></metalink>'
_READERS = {"document", "linkheader", "magnet", "torrent", "urilist"}


@pytest.mark.parametrize(
    ("name", "text", "readers"),
    [
        ("a.meta4", _METALINK, {"document"}),
        (
            "a.torrent",
            "d4:infod6:lengthi1e4:name1:a12:piece lengthi16384e6:pieces20:" + 20 * "0" + "ee",
            {"magnet", "torrent"},
        ),
        ("a.magnet", "magnet:?xt=urn:btih:" + 40 * "0", {"magnet", "urilist"}),
    ],
)
def test_inspecting_one_loads_what_reads_it_and_nothing_of_the_network(
    name: str, text: str, readers: set[str], tmp_path: Path
) -> None:
    """A torrent waits for no reader of XML, nor anybody for trio."""
    (tmp_path / name).write_text(text)

    got = imported("inspect", str(tmp_path / name), runtime=tmp_path)

    assert readers == {name for name in _READERS if f"mountdl.descriptors.{name}" in got}
    assert ("lxml" in got) == ("document" in readers)
    assert got & (HEAVY - {"lxml"}) == set()
    assert "mountdl.engine" not in got


def test_what_no_descriptor_asks_for_is_loaded_when_it_is_first_used(tmp_path: Path) -> None:
    """A mount of plain mirrors waits neither for libtorrent nor for ssh; nor for what hands finished files out."""
    late = {
        "asyncio",
        "asyncssh",
        "libtorrent",
        "mountdl.sources.swarm.transport",
        "pyfuse3",
        "sqlite3",
        "mountdl.control.cache",
        "mountdl.control.create",
        "lxml",
        "mountdl.descriptors.document",
        "mountdl.descriptors.linkheader",
        "mountdl.descriptors.magnet",
        "mountdl.descriptors.torrent",
        "mountdl.descriptors.urilist",
        "mountdl.digests.librhash",
    }

    assert late & run("import sys, mountdl.app; print(*sys.modules)", home=tmp_path) == set()


_FEW = {"mountdl.sources.sftp.failures", "mountdl.sources.sftp.hosts"}
"""With asyncssh, which few mounts need."""
_BEFORE = {
    f"mountdl.{name}"
    for name in ("control.graduation", "control.rpc.serving", "filesystem.mount", "filesystem.operations")
}
"""What an option asks for, or speaks to the kernel: loaded before the mount is there."""
_LATE = "import sys, importlib, mountdl.app; [importlib.import_module(name) for name in mountdl.app.layers.LATE]"


def imported_in_functions(*parts: str) -> Iterator[str]:
    """Yield the modules of ours that functions of these *parts* of the package import."""
    package = Path(__file__).parents[2] / "mountdl"
    for part in parts:
        for path in [package / part] if part.endswith(".py") else (package / part).rglob("*.py"):
            functions = (
                node
                for node in ast.walk(ast.parse(path.read_text()))
                if isinstance(node, ast.AsyncFunctionDef | ast.FunctionDef)
            )
            for node in (node for function in functions for node in ast.walk(function)):
                if isinstance(node, ast.ImportFrom) and node.module is not None:
                    whole = [f"{node.module}.{each.name}" for each in node.names]
                    known = [name for name in whole if (package.parent / (name.replace(".", "/") + ".py")).exists()]
                    yield from (name for name in known or [node.module] if name.startswith("mountdl."))


def test_a_mount_has_all_of_its_own_in_memory_some_seconds_after_its_start(tmp_path: Path) -> None:
    """A package that is upgraded under it can't give it the other half."""
    parts = ENGINE - {"content", "integrity", "settings"} | {
        "app.py",
        "content.py",
        "digests",
        "integrity.py",
        "layers.py",
        "remote.py",
    }
    later = set(imported_in_functions(*parts)) - _FEW - _BEFORE

    got = run(f"{_LATE}; print(*sys.modules)", home=tmp_path)

    assert len(later) > 10
    assert later - got == set()
    assert got & {"asyncssh", "libtorrent"} == set()
