"""Prometheus metrics of the operator itself; those of the engines are served by the engines."""

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

__all__ = [
    "LEADER",
    "ORPHANS",
    "PASSES",
    "PASS_SECONDS",
    "QUEUE_LENGTH",
    "QUEUE_SECONDS",
    "SKYPILOT_CALLS",
    "SKYPILOT_REACHABLE",
    "UNSETTLED",
]

PASSES: Final = Counter("deepseek_operator_passes", "Passes over a deployment.", ["result"])
PASS_SECONDS: Final = Histogram("deepseek_operator_pass_seconds", "Duration of a pass.")
QUEUE_LENGTH: Final = Gauge("deepseek_operator_queue_length", "Deployments that wait for a worker.")
QUEUE_SECONDS: Final = Gauge("deepseek_operator_queue_seconds", "How long the deployment waits that waits longest.")
UNSETTLED: Final = Gauge("deepseek_operator_unsettled_deployments", "Deployments on which something is under way.")
SKYPILOT_REACHABLE: Final = Gauge("deepseek_operator_skypilot_reachable", "1 if the SkyPilot API server answers.")
SKYPILOT_CALLS: Final = Gauge("deepseek_operator_skypilot_snapshot_calls", "Snapshot calls to the SkyPilot API server.")
ORPHANS: Final = Gauge(
    "deepseek_operator_orphaned_clusters", "SkyPilot clusters of this installation that no deployment owns."
)
LEADER: Final = Gauge("deepseek_operator_leader", "1 if this process holds the Lease and acts.")
