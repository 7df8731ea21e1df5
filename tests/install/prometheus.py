"""Debian's Prometheus on this machine: it scrapes what the ServiceMonitor selects, and evaluates the alerts.

Debian builds it without discovery in Kubernetes: a thread writes the addresses of the selected Services into a file.
"""

import json
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.cluster import packages
from tests.install.release import CHART
from tests.system.kubectl import CommandError, Kubectl
from tests.system.wait import eventually

__all__ = ["Prometheus"]

SELECTOR = "app.kubernetes.io/name=deepseek-operator,app.kubernetes.io/component=metrics"
LOOK_S = 1.0


@dataclass
class Prometheus:
    """A server with a folder of its own.

    Attributes
    ----------
    kubectl
        In the namespace of the metrics Services.
    """

    folder: Path
    kubectl: Kubectl
    port: int
    began: float = field(default_factory=time.time)
    process: subprocess.Popen[bytes] | None = None
    _stopped: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        """Start it and wait until it answers."""
        discovery = {"files": [str(self.folder / "targets.json")]}
        job = {"job_name": "deepseek-operator", "honor_labels": True, "file_sd_configs": [discovery]}
        config = {
            "global": {"scrape_interval": "3s", "scrape_timeout": "3s", "evaluation_interval": "15s"},
            "rule_files": [str(CHART / "files" / "rules.yaml")],
            "scrape_configs": [job],
        }
        file = self.folder / "prometheus.yml"
        file.write_text(yaml.safe_dump(config))
        flags = [f"--config.file={file}", f"--storage.tsdb.path={self.folder / 'data'}"]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [packages.prometheus("prometheus"), *flags, f"--web.listen-address=127.0.0.1:{self.port}"],
                stdout=log,
                stderr=log,
            )
        threading.Thread(target=self._discover, daemon=True).start()
        eventually(self._ready, within=30, what=f"Prometheus answers; see {self.folder / 'log'}")

    def stop(self) -> None:
        """Stop it."""
        self._stopped.set()
        if self.process is not None:
            self.process.terminate()
            self.process.wait(30)

    def over_the_run(self, query: str) -> list[dict[str, Any]]:
        """Return the series that a query has had at any time since the start."""
        span = {"query": query, "start": self.began, "end": time.time(), "step": 5}
        found: list[dict[str, Any]] = self._get("/api/v1/query_range", span)["result"]
        return found

    def targets(self) -> list[dict[str, Any]]:
        """Return what is scraped now."""
        found: list[dict[str, Any]] = self._get("/api/v1/targets", {"state": "active"})["activeTargets"]
        return found

    def rules(self) -> list[dict[str, Any]]:
        """Return the alerts with their state and health."""
        return [rule for group in self._get("/api/v1/rules", {})["groups"] for rule in group["rules"]]

    def _discover(self) -> None:
        """Write the addresses of the metrics Services until stopped."""
        while not self._stopped.wait(LOOK_S):
            with suppress(CommandError):
                slices = self.kubectl.get("endpointslices", labels=SELECTOR)
                found = [
                    {
                        "targets": [f"{endpoint['addresses'][0]}:{port['port']}"],
                        "labels": {"pod": endpoint["targetRef"]["name"], "namespace": self.kubectl.namespace},
                    }
                    for one in slices
                    for endpoint in one["endpoints"] or ()
                    for port in one["ports"] or ()
                    if port["name"] == "metrics"
                ]
                written = self.folder / "targets.unfinished"
                written.write_text(json.dumps(found))
                written.rename(self.folder / "targets.json")

    def _ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"Prometheus has ended; see {self.folder / 'log'}"
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/-/ready", timeout=2):
                return True
        except OSError:
            return False

    def _get(self, path: str, query: dict[str, Any]) -> Any:
        url = f"http://127.0.0.1:{self.port}{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=30) as answer:
            return json.load(answer)["data"]
