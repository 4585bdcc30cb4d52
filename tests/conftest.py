"""Run `async def` tests under trio, with a `clock` fixture that jumps instead of sleeping; mirrors and a source."""

from __future__ import annotations

import gc
import inspect
import os
import site
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest
import trio
import trio.testing

from tests.support.mirrors import Mirrors

HOME = tempfile.TemporaryDirectory(prefix="mountdl-home-")
"""Where tests are at home: what somebody set for mountdl, or has in .netrc and .ssh, is no concern of theirs."""


def alone(home: str) -> None:
    """Have this process, and those it starts, hear only of *home*, and of nothing outside this machine."""
    os.environ.setdefault("PYTHONUSERBASE", site.getuserbase())  # else gone with the home, and packages with it
    folders = {f"XDG_{each}_HOME" for each in ("CONFIG", "CACHE", "DATA", "STATE")}
    for name in list(os.environ):
        if name in folders or name.startswith("MOUNTDL_") or name.lower().endswith("_proxy"):
            del os.environ[name]
    os.environ |= {"HOME": home, "MOUNTDL_INTERFACE": "127.0.0.1"}
    os.environ |= {"MOUNTDL_ENABLE_DHT": "false", "MOUNTDL_ENABLE_DHT6": "false"}


alone(HOME.name)


# A machine that is busy with something else is no fault of a test's.
hypothesis.settings.register_profile("patient", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("patient")


# What meets real servers, the kernel and their clocks. Each of these tests may be tried again, which the summary tells.
REAL = {"wire", "mount"}
RERUNS = 2


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let a test with real clocks be tried again: among thousands one is late whenever the machine is."""
    tests = Path(__file__).parent
    for item in items:
        if item.path.relative_to(tests).parts[0] in REAL:
            item.add_marker(pytest.mark.flaky(reruns=RERUNS))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Forget what a try that failed left open in its frames: the next try would fail by their warnings."""
    if getattr(item, "execution_count", 1) > 1:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "unraisablehook", lambda _: None)
            for name in ("last_type", "last_value", "last_traceback"):  # pytest leaves it to debuggers there
                vars(sys).pop(name, None)
            gc.collect()


@pytest.fixture
def mirrors() -> Iterator[Mirrors]:
    with Mirrors() as running:
        yield running


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Make a directory for descriptors."""
    path = tmp_path / "source"
    path.mkdir()
    return path


@pytest.fixture
def clock() -> trio.testing.MockClock:
    """Give a clock for which waiting costs no time; a test that takes it runs under it."""
    return trio.testing.MockClock(autojump_threshold=0)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a coroutine test in trio; with the `clock` fixture, on that clock."""
    function: Callable[..., object] = pyfuncitem.obj
    if not inspect.iscoroutinefunction(function):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}

    async def body() -> None:
        with trio.fail_after(150):
            await function(**arguments)

    trio.run(body, clock=pyfuncitem.funcargs.get("clock"))
    return True
