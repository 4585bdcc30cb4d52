"""The corpus of the fuzzers holds, and each fuzzer runs."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.harness import CORPUS
from tests.fuzz.laws import TARGETS

SEEDS = sorted(path for path in CORPUS.rglob("*") if path.is_file())
LARGEST = 4000
"""Bytes of the largest file of the corpus."""


@pytest.mark.parametrize("path", SEEDS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_the_corpus(path: Path) -> None:
    """Every input ends in a sound descriptor or in an error of a known kind."""
    TARGETS[path.parent.name](path.read_bytes())


@pytest.mark.parametrize("path", SEEDS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_the_corpus_cut_off_and_changed(path: Path) -> None:
    """Also cut off anywhere, and with any one byte changed: the cheapest fuzzing there is."""
    target, data = TARGETS[path.parent.name], path.read_bytes()
    for at in range(0, len(data), max(1, len(data) // 60)):
        target(data[:at])
        target(data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :])
        target(data[:at] + data[at:] * 2)


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=60)
@given(data=st.binary(max_size=300))
def test_any_bytes(name: str, data: bytes) -> None:
    """Bytes that are nothing at all."""
    TARGETS[name](data)


def test_the_corpus_is_small() -> None:
    """It is for every checkout; every target has one and a program."""
    assert {path.parent.name for path in SEEDS} == set(TARGETS)
    assert all(path.stat().st_size <= LARGEST for path in SEEDS)
    assert len(SEEDS) < 400
    assert {path.stem for path in Path(__file__).parent.glob("fuzz_*.py")} == {f"fuzz_{name}" for name in TARGETS}


@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="needs atheris")
@pytest.mark.parametrize("name", TARGETS)
def test_fuzzers_run(name: str, tmp_path: Path) -> None:
    """For two seconds each, from the corpus on; longer by hand (see `harness`)."""
    command = [
        sys.executable,
        "-m",
        f"tests.fuzz.fuzz_{name}",
        "-max_total_time=2",
        f"-artifact_prefix={tmp_path}/",
        str(tmp_path),
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=120, cwd=Path(__file__).parents[2]
    )

    assert done.returncode == 0, done.stderr[-3000:]
    assert "Done " in done.stderr
