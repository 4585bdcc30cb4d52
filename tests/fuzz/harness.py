"""Fuzz one parser with atheris, guided by the coverage of mountdl.

    python -m tests.fuzz.fuzz_magnet                        from the corpus, until Ctrl-C or a broken law
    python -m tests.fuzz.fuzz_magnet -max_total_time=60     other flags are libFuzzer's
    python -m tests.fuzz.fuzz_magnet crash-0123             one input again

What is found beyond the corpus is kept in the folder that is named first on the command line, nowhere by
default. Add to tests/fuzz/corpus/NAME what broke a law, and what reaches further, each as a small file.
"""

from __future__ import annotations

import sys
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"


def fuzz(name: str) -> None:
    """Fuzz the target *name* with the arguments of the command line."""
    import atheris

    with atheris.instrument_imports(include=["mountdl"]):
        from tests.fuzz.laws import TARGETS

    arguments = [sys.argv[0], "-max_len=2000", "-timeout=10", "-rss_limit_mb=1000", *sys.argv[1:]]
    if not any(Path(each).is_file() for each in sys.argv[1:]):
        arguments.append(str(CORPUS / name))
    # libFuzzer adds what it finds to the first folder: not to the corpus that is kept.
    if not any(Path(each).is_dir() for each in sys.argv[1:]):
        import tempfile

        arguments.insert(1, tempfile.mkdtemp(prefix=f"fuzz-{name}-"))
    atheris.Setup(arguments, TARGETS[name])
    atheris.Fuzz()
