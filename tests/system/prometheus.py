"""Debian's Prometheus on this machine, and what it answers."""

import json
import socket
import subprocess
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import yaml

from tests.cluster import packages
from tests.system.wait import eventually

__all__ = ["PrometheusServer"]

STARTS_WITHIN_S = 30.0


class PrometheusServer:
    """A server with a folder of its own: its data are in ``data``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data, self.log = folder / "data", folder / "log"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._listen = f"127.0.0.1:{free.getsockname()[1]}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, config: dict[str, Any], *flags: str) -> None:
        """Start it and wait until it answers."""
        file = self.folder / "prometheus.yml"
        file.write_text(yaml.safe_dump(config))
        flags = (f"--config.file={file}", f"--storage.tsdb.path={self.data}", *flags)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [packages.prometheus("prometheus"), *flags, f"--web.listen-address={self._listen}"],
                stdout=log,
                stderr=log,
            )
        eventually(self._ready, within=STARTS_WITHIN_S, what=f"Prometheus answers; see {self.log}")

    def stop(self) -> None:
        """Stop it."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30)

    def at(self, query: str, moment: float) -> list[dict[str, Any]]:
        """Return what a query yields at one moment, in seconds since 1970."""
        found: list[dict[str, Any]] = self.get("query", query=query, time=moment)["result"]
        return found

    def between(self, query: str, start: float, end: float, step: float) -> list[dict[str, Any]]:
        """Return the series of a query between two moments."""
        found: list[dict[str, Any]] = self.get("query_range", query=query, start=start, end=end, step=step)["result"]
        return found

    def get(self, path: str, **query: str | float) -> Any:
        """Ask its API."""
        url = f"http://{self._listen}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=30) as answer:
            return json.load(answer)["data"]

    def _ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"Prometheus has ended; see {self.log}"
        try:
            with urllib.request.urlopen(f"http://{self._listen}/-/ready", timeout=2):
                return True
        except OSError:
            return False
