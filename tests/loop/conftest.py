"""What loop tests share: hashing inline, so that a mocked clock never outruns a thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture(autouse=True)
def inline_hashing(monkeypatch: pytest.MonkeyPatch) -> None:
    async def inline(function: Callable[..., Any], *args: Any) -> Any:
        return function(*args)

    monkeypatch.setattr("mountdl.engine.verifier.in_thread", inline)
    monkeypatch.setattr("mountdl.engine.verifier.REST", 0.0)
    monkeypatch.setattr("mountdl.engine.borders.in_thread", inline)
    monkeypatch.setattr("mountdl.engine.reader.in_thread", inline)
