"""A folder of build results, each under a key made of all that went into it."""

import hashlib
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from tests.cluster.shell import locked


def cache_dir() -> Path:
    """Return ``$XDG_CACHE_HOME/deepseek-operator``, or the same below ``~/.cache``."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "deepseek-operator"


def key_of(words: Iterable[str], files: Iterable[Path] = (), *, root: Path | None = None) -> str:
    """Hash words and files, names and contents, into 16 hex digits.

    A file's name is its path below `root`, if that is given. Each part is preceded by its length, so that moving a
    character from one part to the next changes the key.
    """
    digest = hashlib.sha256()

    def add(data: bytes) -> None:
        digest.update(len(data).to_bytes(8, "big"))
        digest.update(data)

    for word in words:
        add(word.encode())
    for file in sorted(files):
        add(str(file.relative_to(root) if root else file.name).encode())
        add(file.read_bytes())
    return digest.hexdigest()[:16]


def build_once(target: Path, build: Callable[[Path], None]) -> Path:
    """Return `target`, made by `build` if it is not there.

    `build` fills an empty folder beside `target`, which is then renamed: an interrupted build leaves nothing that
    looks finished. Runs at the same time wait for each other.
    """
    if target.is_dir():
        return target
    with locked(target.parent / f".{target.name}.lock"):
        if target.is_dir():
            return target
        unfinished = target.parent / f".{target.name}.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        build(unfinished)
        unfinished.rename(target)
    return target
