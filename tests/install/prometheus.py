"""A Prometheus that scrapes what the chart's ServiceMonitor selects, and evaluates the alerts.

Debian builds it without discovery in Kubernetes: a thread writes the addresses of the selected Services into a file.
"""

import json
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.install.release import CHART
from tests.system.kubectl import CommandError, Kubectl
from tests.system.prometheus import PrometheusServer

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
    began: float = field(default_factory=time.time)
    _stopped: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._server = PrometheusServer(self.folder)

    def start(self) -> None:
        """Start it and wait until it answers."""
        discovery = {"files": [str(self.folder / "targets.json")]}
        job = {"job_name": "deepseek-operator", "honor_labels": True, "file_sd_configs": [discovery]}
        threading.Thread(target=self._discover, daemon=True).start()
        self._server.start(
            {
                "global": {"scrape_interval": "3s", "scrape_timeout": "3s", "evaluation_interval": "15s"},
                "rule_files": [str(CHART / "files" / "rules.yaml")],
                "scrape_configs": [job],
            }
        )

    def stop(self) -> None:
        """Stop it."""
        self._stopped.set()
        self._server.stop()

    def over_the_run(self, query: str) -> list[dict[str, Any]]:
        """Return the series that a query has had at any time since the start."""
        return self._server.between(query, self.began, time.time(), step=5)

    def targets(self) -> list[dict[str, Any]]:
        """Return what is scraped now."""
        found: list[dict[str, Any]] = self._server.get("targets", state="active")["activeTargets"]
        return found

    def rules(self) -> list[dict[str, Any]]:
        """Return the alerts with their state and health."""
        return [rule for group in self._server.get("rules")["groups"] for rule in group["rules"]]

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
