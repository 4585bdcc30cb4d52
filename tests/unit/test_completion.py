"""What shells complete the command line by, asked of the shells themselves."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import time
from pathlib import Path

import pytest

from mountdl.control import completion, parser
from mountdl.control.options import OPTIONS
from tests.support.machine import patience

ASKED = [
    (["unm"], {"unmount"}),
    (["mount", "--max-c"], {"--max-connection-per-server"}),
    (["mount", "--background", "t"], {"touched"}),
    (["fetch", "--metalink-preferred-protocol", "ft"], {"ftp", "ftps"}),
    (["create", "--format", ""], {"meta4", "metalink3", "magnet", "torrent"}),
    (["cache", "p"], {"prune", "pin"}),
    (["completion", ""], set(parser.SHELLS)),
    (["wait", "--"], {"--help", "--complete", "--playable", "--timeout"}),
    (["fetch", "--cache-"], set()),
]
"""Words of a command line, and what may be in place of the last one."""


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("completion")
    for shell in parser.SHELLS:
        (folder / f"_{shell}").write_text(completion.script(shell))
    return {shell: folder / f"_{shell}" for shell in parser.SHELLS}


def said(*words: str) -> list[str]:
    done = subprocess.run(words, capture_output=True, text=True, timeout=patience(30), check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split("\n")[:-1]


@pytest.mark.parametrize(("words", "expected"), ASKED)
def test_bash(scripts: dict[str, Path], words: list[str], expected: set[str]) -> None:
    """Also behind "=", which is a word of its own there."""
    run = 'source "$0"; COMP_WORDS=(mountdl "$@"); COMP_CWORD=$#; _mountdl; printf "%s\\n" "${COMPREPLY[@]}"'
    assert set(said("bash", "-c", run, str(scripts["bash"]), *words)) - {""} == expected
    if len(words) == 3:
        assert set(said("bash", "-c", run, str(scripts["bash"]), *words[:2], "=", words[2])) - {""} == expected


@pytest.mark.parametrize(("words", "expected"), ASKED)
def test_fish(scripts: dict[str, Path], words: list[str], expected: set[str]) -> None:
    """With what each word means beside it."""
    found = said("fish", "-N", "-c", f"source {scripts['fish']}; complete -C '{' '.join(['mountdl', *words])}'")
    assert {line.partition("\t")[0] for line in found} >= expected
    assert {line.partition("\t")[0] for line in found if line[:2] == "--"} <= expected


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("mountdl unm", "unmount "),
        ("mountdl mount --max-co", "--max-connection-per-server="),
        ("mountdl mount --background=to", "--background=touched "),
        ("mountdl cache ve", "verify "),
        ("mountdl wait --play", "--playable "),
    ],
)
def test_zsh(scripts: dict[str, Path], tmp_path: Path, typed: str, expected: str) -> None:
    """As somebody types it."""
    (tmp_path / "_mountdl").write_bytes(scripts["zsh"].read_bytes())
    terminal, other = pty.openpty()
    environment = {**os.environ, "TERM": "dumb", "PS1": "> "}
    with subprocess.Popen(
        ["setsid", "--ctty", "zsh", "-f", "-i"], stdin=other, stdout=other, stderr=other, env=environment
    ) as shell:
        os.close(other)
        try:
            setup = f"fpath=({tmp_path} $fpath); autoload -Uz compinit; compinit -u -D; print re''ady\n"
            os.write(terminal, setup.encode())
            until(terminal, "ready")
            os.write(terminal, f"{typed}\t".encode())
            until(terminal, typed.rpartition(" ")[0] + " " + expected)
        finally:
            shell.kill()
            os.close(terminal)


def until(terminal: int, expected: str) -> None:
    """Read *terminal* until it has shown *expected*."""
    shown, end = "", time.monotonic() + patience(20)
    while expected not in shown:
        readable, _, _ = select.select([terminal], [], [], max(0.0, end - time.monotonic()))
        assert readable, shown
        shown += os.read(terminal, 4096).decode(errors="replace").translate({7: None, 13: None})


def test_each_option_is_in_each_script(scripts: dict[str, Path]) -> None:
    """What the parsers know; what they hide is not offered."""
    for shell, path in scripts.items():
        text = path.read_text()
        for option in OPTIONS:
            name = f"-l {option.name} " if shell == "fish" else f"--{option.name}"
            assert name in text
        assert "SUPPRESS" not in text
