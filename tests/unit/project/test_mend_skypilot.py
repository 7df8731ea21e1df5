"""What the image changes in SkyPilot. That the image has it is shown in tests/e2e."""

import importlib.util
import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[3] / "images" / "skypilot" / "mend_skypilot.py"


@pytest.fixture(scope="module")
def mend() -> ModuleType:
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("mend_skypilot", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def handler() -> Iterator[logging.Handler]:
    """A handler of the root logger."""
    handler = logging.StreamHandler()
    logging.getLogger().addHandler(handler)
    yield handler
    logging.getLogger().removeHandler(handler)


def another_thread_can_log() -> bool:
    """Return whether another thread gets a logger that is new, and writes to it."""
    done = threading.Event()

    def work() -> None:
        logging.getLogger(f"new-{id(done)}").warning("here")
        done.set()

    threading.Thread(target=work, daemon=True).start()
    return done.wait(1)


def test_locks_that_a_cancelled_request_has_left_locked_are_released(
    mend: ModuleType, handler: logging.Handler
) -> None:
    made: dict[str, Callable[[], None]] = {}
    exec(mend.FUNCTION, made)
    release = made["_release_locks_of_cancelled_request"]
    module: Any = logging
    assert handler.lock is not None
    for lock in (module._lock, handler.lock):
        lock.acquire()
        lock.acquire()
        try:
            assert not another_thread_can_log()
        finally:
            release()
        assert another_thread_can_log()


@pytest.mark.parametrize("text", ["", "BEFOREABOVEABOVE", "CALLBEFOREABOVE"])
def test_another_version_of_skypilot_is_not_changed_blindly(mend: ModuleType, tmp_path: Path, text: str) -> None:
    for name in ("CALL", "BEFORE", "ABOVE"):
        text = text.replace(name, getattr(mend, name))
    file = tmp_path / mend.EXECUTOR
    file.parent.mkdir(parents=True)
    file.write_text(text)
    done = subprocess.run([sys.executable, SCRIPT, tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "does it still need this change?" in done.stderr
    assert file.read_text() == text
