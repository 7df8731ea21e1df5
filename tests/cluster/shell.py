"""Running programs and telling a person how it goes."""

import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.cluster.api import ClusterError

_STARTED = time.monotonic()
_LINES_OF_A_FAILURE = 30


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

    Raises
    ------
    ClusterError
        It is missing, took too long or exited non-zero; the message ends with the last lines it printed.
    """
    words = [str(word) for word in argv]
    try:
        done = subprocess.run(
            words,
            env={**os.environ, **(env or {})},
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
        said = "\n".join((done.stdout + done.stderr).splitlines()[-_LINES_OF_A_FAILURE:])
        raise ClusterError(f"{' '.join(words[:6])} … exited with {done.returncode}:\n{said}")
    return done.stdout


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
