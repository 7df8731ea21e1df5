"""The authorities by which the certificate of a SkyPilot server is believed."""

import ssl
from pathlib import Path

from deepseek_operator.skypilot.token import version_of

__all__ = ["AuthorityFile"]


class AuthorityFile:
    """Certificates in PEM, which count instead of the public ones, in a file that may be replaced at any time.

    While the file cannot be read, or holds no certificate, the last ones count.

    Raises
    ------
    OSError
        The file cannot be read at the start, or holds no certificate.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._version, self._context = version_of(path), ssl.create_default_context(cafile=path)

    def context(self) -> ssl.SSLContext:
        """Return what believes the certificates that are in the file now."""
        try:
            version = version_of(self._path)
            if version != self._version:
                self._version, self._context = version, ssl.create_default_context(cafile=self._path)
        except OSError:
            pass  # it is looked at again with the next request
        return self._context
