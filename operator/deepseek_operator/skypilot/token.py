"""The token by which a shared SkyPilot server knows the operator."""

from pathlib import Path

__all__ = ["TokenFile", "version_of"]


class TokenFile:
    """A token in a file that may be replaced while the process runs, as the kubelet does with a Secret that is mounted.

    Its text is the token as it is now. While the file cannot be read, or is empty, that is the last one.

    Raises
    ------
    OSError
        The file cannot be read at the start.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._version, self._token = version_of(path), path.read_text(encoding="utf-8").strip()

    def __str__(self) -> str:
        """Return the token."""
        try:
            version = version_of(self._path)
            if version != self._version:
                token = self._path.read_text(encoding="utf-8").strip()
                self._version, self._token = version, token or self._token
        except (OSError, UnicodeDecodeError):
            pass  # it is looked at again with the next request
        return self._token


def version_of(path: Path) -> tuple[int, int]:
    """Return what changes when a file is replaced."""
    found = path.stat()
    return found.st_mtime_ns, found.st_ino
