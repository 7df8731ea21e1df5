"""Running programs and telling a person how it goes."""

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Protocol

from tests.cluster.api import ClusterError

_STARTED = time.monotonic()
_LINES_OF_A_FAILURE = 30
_TELL_EVERY_S = 10.0


class Watcher(Protocol):
    """Told what a program writes while it runs, and asked now and then to say how far it is."""

    def line(self, text: str) -> None:
        """Take in a line of standard output or standard error."""

    def tick(self) -> None:
        """Say how far it is."""


def say(message: str) -> None:
    """Print one progress line on stderr, with the seconds since the command began."""
    print(f"[{time.monotonic() - _STARTED:6.1f} s] {message}", file=sys.stderr, flush=True)


def run(
    argv: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: str | None = None,
    timeout: float | None = None,
    watcher: Watcher | None = None,
) -> str:
    """Run a program to its end and return its standard output.

    Parameters
    ----------
    argv
        Program and arguments; never a shell line.
    env
        Added to this process's environment.
    cwd
        Folder to run in.
    stdin
        Text for its standard input; without it, the program reads end of file.
    timeout
        Seconds after which it is killed.
    watcher
        For what takes minutes: hears every line, and tells a person how it goes. Excludes `stdin` and `timeout`.

    Raises
    ------
    ClusterError
        It is missing, took too long or exited non-zero; the message ends with the last lines it printed.
    """
    words = [str(word) for word in argv]
    environment = {**os.environ, **(env or {})}
    try:
        if watcher is not None:
            return _run_watched(words, environment, cwd, watcher)
        done = subprocess.run(
            words,
            env=environment,
            cwd=cwd,
            input=stdin if stdin is not None else "",
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
    except FileNotFoundError as error:
        raise ClusterError(f"{words[0]} is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise ClusterError(f"{' '.join(words[:4])} … took longer than {timeout:.0f} s") from error
    if done.returncode:
        raise _failure(words, done.returncode, (done.stdout + done.stderr).splitlines()[-_LINES_OF_A_FAILURE:])
    return done.stdout


def _run_watched(words: list[str], environment: Mapping[str, str], cwd: Path | None, watcher: Watcher) -> str:
    """Run a program whose lines are handed on as they come; see :func:`run`."""
    kept: list[str] = []
    last: deque[str] = deque(maxlen=_LINES_OF_A_FAILURE)
    lock = threading.Lock()

    def pump(stream: IO[str], keep: bool) -> None:
        for line in stream:
            with lock:
                last.append(line.rstrip("\n"))
                watcher.line(line)
                if keep:
                    kept.append(line)

    with subprocess.Popen(
        words,
        env=environment,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        pumps = [threading.Thread(target=pump, args=args) for args in ((process.stdout, True), (process.stderr, False))]
        try:
            for thread in pumps:
                thread.start()
            while True:
                try:
                    code = process.wait(_TELL_EVERY_S)
                    break
                except subprocess.TimeoutExpired:
                    with lock:
                        watcher.tick()
        except BaseException:
            process.kill()
            raise
        finally:
            for thread in pumps:
                thread.join()
    if code:
        raise _failure(words, code, list(last))
    return "".join(kept)


def _failure(words: list[str], code: int, lines: Sequence[str]) -> ClusterError:
    said = "\n".join(lines)
    return ClusterError(f"{' '.join(words[:6])} … exited with {code}:\n{said}")


def succeeds(argv: Sequence[str | Path], *, timeout: float = 20) -> bool:
    """Say whether a program runs and exits with zero; what it prints is dropped."""
    try:
        run(argv, timeout=timeout)
    except ClusterError:
        return False
    return True


def kubectl(bin_dir: Path, kubeconfig: Path) -> list[str]:
    """Return how a command of kubectl begins."""
    return [str(bin_dir / "kubectl"), f"--kubeconfig={kubeconfig}", "--request-timeout=10s"]


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on a file, which the kernel drops if this process is killed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another run that holds {path}")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def meanwhile(argv: Sequence[str]) -> Iterator[None]:
    """Run a program beside the body and wait for its end, however it ends; it is ended where the body fails."""
    # In a session of its own, so that all that it has started ends with it.
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, start_new_session=True) as process:
        try:
            yield
            process.wait()
        except BaseException:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            raise
