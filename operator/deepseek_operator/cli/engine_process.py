"""An engine as a child of this process: started, waited for, and always ended."""

import contextlib
import http.client
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

__all__ = ["EngineProcess", "EngineProcessError"]

LOOK_S: Final = 0.5
TOLD_S: Final = 10.0
"""Seconds between two lines of progress."""
ANSWER_S: Final = 60.0
ENDING_S: Final = 5.0
STOP_S: Final = 30.0
"""Seconds that an engine gets to end by itself before it is killed."""
_LAST_LINES: Final = 15


class EngineProcessError(Exception):
    """The engine could not be started, or does not serve. The message says why, with what it wrote last."""


class EngineProcess:
    """The engine, in a process group of its own, so that all its workers end with it.

    Parameters
    ----------
    log
        File that gets everything it writes.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], port: int, log: Path) -> None:
        self._command, self._environment, self._port, self._log = command, environment, port, log
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Start it.

        Raises
        ------
        EngineProcessError
            If there is no such program.
        """
        try:
            with _interrupted_later(signal.SIGINT, signal.SIGTERM), self._log.open("wb") as log:
                self._process = subprocess.Popen(
                    self._command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env={**os.environ, **self._environment},
                    start_new_session=True,
                )
        except OSError as error:
            raise EngineProcessError(f"{self._command[0]} cannot be started: {error.strerror}") from error
        except KeyboardInterrupt:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it and everything that it has started, whatever has happened."""
        process = self._process
        if process is None:
            return
        try:
            self._signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_S)
        finally:
            self._signal(signal.SIGKILL)  # also the workers of one that has died without them
            process.wait()

    def wait_healthy(self, path: str, seconds: float, say: Callable[[str], None]) -> float:
        """Wait until it answers, and return how many seconds it took.

        Raises
        ------
        EngineProcessError
            If it ends, or does not answer in time.
        """
        began = told = time.monotonic()
        while self._status(path) != 200:
            self.check()
            now = time.monotonic()
            if now - began > seconds:
                raise EngineProcessError(
                    f"no answer at {path} within {seconds:g} s; it wrote last:\n{self.last_lines()}"
                )
            if now - told >= TOLD_S:
                told = now
                say(f"starting for {now - began:.0f} s of at most {seconds:g} s: {self.last_lines(1)}")
            time.sleep(LOOK_S)
        return time.monotonic() - began

    def check(self) -> None:
        """Raise if it has ended.

        Raises
        ------
        EngineProcessError
            With its status and what it wrote last.
        """
        status = self._process.poll() if self._process is not None else None
        if status is not None:
            raise EngineProcessError(f"the engine ended with status {status}; it wrote last:\n{self.last_lines()}")

    def check_soon(self) -> None:
        """Raise if it ends within seconds: a connection is closed before its process has ended.

        Raises
        ------
        EngineProcessError
            With its status and what it wrote last.
        """
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(ENDING_S)
        self.check()

    def get(self, path: str) -> bytes:
        """Return the body of an answer.

        Raises
        ------
        EngineProcessError
            If there is none.
        """
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=ANSWER_S)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException) as error:
            self.check()
            raise EngineProcessError(f"no answer at {path}: {error or type(error).__name__}") from error
        finally:
            connection.close()
        if response.status != 200:
            raise EngineProcessError(f"{path} answers HTTP {response.status}")
        return body

    def last_lines(self, count: int = _LAST_LINES) -> str:
        """Return the end of what it has written."""
        try:
            lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return ""
        return "\n".join([line for line in lines if line.strip()][-count:])

    def _status(self, path: str) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=ANSWER_S)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return 0
        finally:
            connection.close()

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)


@contextlib.contextmanager
def _interrupted_later(*numbers: signal.Signals) -> Iterator[None]:
    """Let signals that come during the block wait until its end: an engine that has just been started must be known."""
    heard: list[int] = []
    before = {number: signal.signal(number, lambda number, _: heard.append(number)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    for late in heard:
        signal.raise_signal(late)
