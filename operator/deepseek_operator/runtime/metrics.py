"""Prometheus metrics of the operator itself; those of deployments and their engines are in :mod:`.series`.

docs/metrics.md is written from what is defined in the two, by ``tests/unit/runtime/test_metrics.py``.
"""

from functools import cache
from typing import Final

from prometheus_client import Counter, Gauge, Histogram

import deepseek_operator
from deepseek_operator.api.reasons import REPLICA_FAILURES
from deepseek_operator.skypilot.client import SERVER_VERSION

__all__ = [
    "FAILURES",
    "LAUNCHES",
    "LAUNCHES_IN_FLIGHT",
    "LAUNCHES_WAITING",
    "LEADER",
    "ORPHANS",
    "PASSES",
    "PASS_SECONDS",
    "PREFIX",
    "PROBES",
    "QUEUE_LENGTH",
    "QUEUE_SECONDS",
    "QUEUE_WAIT_SECONDS",
    "SKYPILOT_CALLS",
    "SKYPILOT_ERRORS",
    "SKYPILOT_REACHABLE",
    "SKYPILOT_SECONDS",
    "STAGES",
    "STAGE_SECONDS",
    "START_RATIO",
    "UNSETTLED",
    "count_probe",
    "expect_failures",
    "expect_launch",
    "observe_skypilot",
]

PREFIX: Final = "deepseek_operator_"
_STAGES_S: Final = (5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 180.0, 300.0, 600.0, 900.0, 1200.0, 1800.0, 3600.0)
"""A pod with its image on the node takes 25 s, the download of R1's weights half an hour."""
_REQUESTS_S: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0)
"""The longest time that the client gives a call is 30 s."""
_WAITS_S: Final = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0)

PASSES: Final = Counter(f"{PREFIX}passes", "Passes over a deployment, by how they ended: ok or error.", ["result"])
PASSES.labels("error")
PASS_SECONDS: Final = Histogram(f"{PREFIX}pass_seconds", "Duration of a pass.")
QUEUE_LENGTH: Final = Gauge(f"{PREFIX}queue_length", "Deployments that wait for a worker.")
QUEUE_SECONDS: Final = Gauge(f"{PREFIX}queue_seconds", "How long the deployment waits that waits longest.")
QUEUE_WAIT_SECONDS: Final = Histogram(
    f"{PREFIX}queue_wait_seconds", "How long a deployment had waited when a worker took it.", buckets=_WAITS_S
)
UNSETTLED: Final = Gauge(f"{PREFIX}unsettled_deployments", "Deployments on which something is under way.")

LAUNCHES: Final = Counter(
    f"{PREFIX}launches",
    "Launches that have ended, by result (Ready, or the Reason of the failure) and by where: kubernetes, aws ...",
    ["result", "infra"],
)
LAUNCHES_IN_FLIGHT: Final = Gauge(f"{PREFIX}launches_in_flight", "Launches under way at the SkyPilot API server.")
LAUNCHES_WAITING: Final = Gauge(f"{PREFIX}launches_waiting", "Launches that wait for a launch slot.")
STAGES: Final = ("nodes", "engine", "ready")
STAGE_SECONDS: Final = Histogram(
    f"{PREFIX}stage_seconds",
    "Duration of the stages of a launch: nodes (until they are up), engine (from then to its first answer), and ready "
    "(both).",
    ["stage", "infra"],
    buckets=_STAGES_S,
)
START_RATIO: Final = Histogram(
    f"{PREFIX}start_prediction_ratio",
    "Duration of the stage engine, divided by what the planner expected (status.plan.performance.startSeconds).",
    ["infra"],
    buckets=(0.25, 0.5, 0.67, 0.8, 1.0, 1.25, 1.5, 2.0, 4.0),
)
FAILURES: Final = Counter(
    f"{PREFIX}replica_failures",
    "Failures of replicas, in a launch and later, by Reason and by where.",
    ["reason", "infra"],
)
PROBES: Final = Counter(f"{PREFIX}probes", "Probes of engines and Services, by result: answered or missed.", ["result"])

SKYPILOT_REACHABLE: Final = Gauge(f"{PREFIX}skypilot_reachable", "1 if the SkyPilot API server answers.")
SKYPILOT_CALLS: Final = Gauge(f"{PREFIX}skypilot_snapshot_calls", "Snapshot calls to the SkyPilot API server.")
SKYPILOT_SECONDS: Final = Histogram(
    f"{PREFIX}skypilot_request_seconds",
    "Duration of HTTP requests to the SkyPilot API server, by path.",
    ["path"],
    buckets=_REQUESTS_S,
)
SKYPILOT_ERRORS: Final = Counter(
    f"{PREFIX}skypilot_errors",
    "Requests to the SkyPilot API server without success, by path and kind: unavailable, rejected or failed.",
    ["path", "kind"],
)
ORPHANS: Final = Gauge(f"{PREFIX}orphaned_clusters", "SkyPilot clusters of this installation that no deployment owns.")
LEADER: Final = Gauge(f"{PREFIX}leader", "1 if this process holds the Lease and acts.")
BUILD_INFO: Final = Gauge(
    f"{PREFIX}build_info",
    "1; the version of the operator, and of SkyPilot as tested.",
    ["version", "skypilot_version"],
)
BUILD_INFO.labels(deepseek_operator.__version__, SERVER_VERSION).set(1)

_ANSWERED, _MISSED = PROBES.labels("answered"), PROBES.labels("missed")


def count_probe(healthy: bool) -> None:
    """Count a probe. It is called for each of up to a thousand probes a second."""
    (_ANSWERED if healthy else _MISSED).inc()


# Launches and failures are rare: in a series whose first value is 1, Prometheus sees no increase, and the first of each
# kind would be lost to every query and alert. So these series begin at zero as soon as it can happen.


@cache
def expect_launch(infra: str) -> None:
    """Let the series of a launch that succeeds begin at zero."""
    LAUNCHES.labels("Ready", infra)
    START_RATIO.labels(infra)
    for stage in STAGES:
        STAGE_SECONDS.labels(stage, infra)


@cache
def expect_failures(infra: str) -> None:
    """Let the series of a replica that fails begin at zero, in a launch and later."""
    for reason in REPLICA_FAILURES:
        LAUNCHES.labels(str(reason), infra)
        FAILURES.labels(str(reason), infra)


@cache
def _expect_errors(path: str) -> None:
    for kind in ("unavailable", "rejected", "failed"):
        SKYPILOT_ERRORS.labels(path, kind)


def observe_skypilot(path: str, seconds: float | None, error: str) -> None:
    """Record a request to the SkyPilot API server.

    Parameters
    ----------
    seconds
        Duration of the HTTP request; None for one that was recorded when it was accepted, and has failed since.
    error
        ``unavailable``, ``rejected`` or ``failed``; empty if there was none.
    """
    _expect_errors(path)
    if seconds is not None:
        SKYPILOT_SECONDS.labels(path).observe(seconds)
    if error:
        SKYPILOT_ERRORS.labels(path, error).inc()
