"""The phases of the benchmark; each returns figures by name."""

import random
import statistics
import time
from collections.abc import Callable
from typing import Final

from deepseek_operator.api.v1alpha1 import LABEL_NAME
from tests.bench.scale.ground import Ground
from tests.bench.scale.usage import Usage, load
from tests.fakes.payloads import Cluster
from tests.system.audit import Audit
from tests.system.wait import eventually

__all__ = ["Figures", "Meter", "create", "delete", "dying", "edit", "newcomers", "restart", "settled"]

Figures = dict[str, float]

WITHIN_S: Final = 1800.0
EVENTS_S: Final = 3.0
"""Seconds without an Event after which there is none left to come."""


class Meter:
    """What an operator uses and asks between now and :meth:`read`.

    Parameters
    ----------
    status
        The status as the audit log names it.
    """

    def __init__(self, pid: int, audit: Audit, status: str = "deepseekdeployments/status") -> None:
        self._pid, self._audit, self._status = pid, audit, status
        self._began = time.monotonic()
        self._before = Usage.of(pid)
        self._mark = audit.now()

    def read(self, name: str, count: int, *, events_later: bool = True) -> Figures:
        """Return wall and CPU seconds, memory, and requests per object.

        Parameters
        ----------
        events_later
            Wait for Events that follow, so that they count; the time does not.
        """
        wall_s = time.monotonic() - self._began
        if events_later:
            self._wait_for_events()
        after = Usage.of(self._pid)
        counts = self._audit.counts(self._mark)
        reads = sum(n for (verb, _), n in counts.items() if verb in ("get", "list"))
        writes = sum(n for (verb, _), n in counts.items() if verb not in ("get", "list", "watch"))
        status = sum(n for (_, what), n in counts.items() if what == self._status)
        events = sum(n for (_, what), n in counts.items() if what == "events")
        print(f"  {name} by the audit log: {dict(sorted(counts.items()))}", flush=True)
        return {
            f"{name}.wall_s": wall_s,
            f"{name}.cpu_s": after.cpu_s - self._before.cpu_s,
            f"{name}.rss_mib": after.rss_mib,
            f"{name}.peak_mib": after.peak_mib,
            f"{name}.load": load(),
            f"{name}.reads_per_object": reads / count,
            f"{name}.writes_per_object": writes / count,
            f"{name}.requests_per_object": (reads + writes) / count,
            f"{name}.status_writes_per_object": status / count,
            f"{name}.events_per_object": events / count,
            f"{name}.reads": float(reads),
            f"{name}.writes": float(writes),
        }

    def _wait_for_events(self) -> None:
        """Wait until none has come for some seconds: an operator may post them when it has nothing else to do."""
        seen, since = -1, time.monotonic()
        while time.monotonic() - since < EVENTS_S:
            time.sleep(1)
            events = sum(n for (_, what), n in self._audit.counts(self._mark).items() if what == "events")
            if events != seen:
                seen, since = events, time.monotonic()


def _meter(ground: Ground) -> Meter:
    return Meter(ground.operator.pid, ground.audit)


def create(ground: Ground, names: list[str], beside: int) -> Figures:
    """Create all deployments at once, and some more while those come up; wait until all are Ready."""
    meter = _meter(ground)
    began = time.time()
    ground.create(names)
    posted_s = time.time() - began
    late = [f"late-{index}" for index in range(beside)]
    for name in late:
        time.sleep(0.5)
        ground.create([name])
    every = [*names, *late]
    _all_ready(ground, every)
    found = meter.read("create", len(every))
    found["create.posted_s"] = posted_s
    return found | _launch_latency(ground, "create.storm", names) | _launch_latency(ground, "create.beside", late)


def settled(ground: Ground, seconds: float) -> Figures:
    """Do nothing for some time."""
    meter, answered, calls = _meter(ground), ground.engines.answered, len(ground.skypilot.calls)
    time.sleep(seconds)
    found = meter.read("settled", 1, events_later=False)
    found["settled.cores"] = found["settled.cpu_s"] / found["settled.wall_s"]
    found["settled.probes_per_s"] = (ground.engines.answered - answered) / seconds
    found["settled.skypilot_per_minute"] = (len(ground.skypilot.calls) - calls) * 60 / seconds
    return found


def newcomers(ground: Ground, count: int) -> Figures:
    """Create deployments one by one beside those that are settled."""
    names = [f"new-{index}" for index in range(count)]
    for name in names:
        ground.create([name])
        _all_ready(ground, [name])
        time.sleep(random.uniform(0, 1))
    ready = [ground.deployments.ready_at[name] - ground.created[name] for name in names]
    return _launch_latency(ground, "newcomer", names) | {"newcomer.ready_p50_s": statistics.median(ready)}


def dying(ground: Ground, count: int) -> Figures:
    """Let engines end one after the other: how long does each stay behind its Service?"""
    names = sorted(ground.deployments.ready)[:count]
    gone, again = [], []
    for name in names:
        cluster = ground.skypilot.of(name)[0]
        began = time.time()
        ground.skypilot.end_job(cluster.name, "killed by the benchmark")
        _until(lambda: not ground.endpoints.addresses.get(name), f"{name} out of its Service")  # noqa: B023
        gone.append(time.time() - began)
        _until(lambda: bool(ground.endpoints.addresses.get(name)), f"{name} back in its Service")  # noqa: B023
        again.append(time.time() - began)
    ground.endpoints.emptied.clear()
    return {
        "dying.p50_s": statistics.median(gone),
        "dying.max_s": max(gone),
        "dying.back_p50_s": statistics.median(again),
    }


def edit(ground: Ground, names: list[str]) -> Figures:
    """Edit all deployments in a field that makes no new revision; wait until every status speaks of it."""
    meter = _meter(ground)
    wanted = {name: ground.deployments.generation[name] + 1 for name in names}
    ground.edit(names, {"resources": {"retryUntilUp": False}})
    _until(lambda: all(ground.deployments.generation[name] >= wanted[name] for name in names), "edits are observed")
    return meter.read("edit", len(names))


def restart(ground: Ground, quiet_s: float) -> Figures:
    """End the operator, start another one, and look for ``quiet_s`` seconds what that does to what serves."""
    ground.endpoints.emptied.clear()
    ground.deployments.unready_at.clear()
    launches = sum(call.path in ("/launch", "/exec") for call in ground.skypilot.calls)
    ground.operator.end()
    mark = ground.audit.now()
    ground.operator.start()
    time.sleep(quiet_s)
    usage, counts = Usage.of(ground.operator.pid), ground.audit.counts(mark)
    launched = sum(call.path in ("/launch", "/exec") for call in ground.skypilot.calls) - launches
    return {
        "restart.cpu_s": usage.cpu_s,
        "restart.peak_mib": usage.peak_mib,
        "restart.endpoints_lost": float(len(ground.endpoints.emptied)),
        "restart.unready": float(len(ground.deployments.unready_at)),
        "restart.writes": float(sum(n for (verb, _), n in counts.items() if verb not in ("get", "list", "watch"))),
        "restart.launches": float(launched),
    }


def delete(ground: Ground, names: list[str]) -> Figures:
    """Delete all deployments; wait until the last is gone, which is when nothing of it is left."""
    meter = _meter(ground)
    ground.delete(names)
    _until(lambda: not any(name in ground.deployments.there for name in names), "all deployments gone")
    return meter.read("delete", len(names))


def _all_ready(ground: Ground, names: list[str]) -> None:
    _until(lambda: ground.deployments.ready.issuperset(names), f"{len(names)} deployments Ready")


def _until(look: Callable[[], bool], what: str) -> None:
    eventually(look, within=WITHIN_S, what=what, every=0.05)


def _launch_latency(ground: Ground, name: str, names: list[str]) -> Figures:
    """Return how long after a deployment was created its launch reached SkyPilot."""
    offset = time.time() - time.monotonic()
    calls = [call for call in ground.skypilot.calls if call.path == "/launch"]
    sent = {str(call.body["cluster_name"]): call.at + offset for call in calls}
    of = {_owner(cluster): sent[cluster.name] for cluster in ground.skypilot.clusters.values()}
    waited = sorted(of[each] - ground.created[each] for each in names)
    return {
        f"{name}.launch_p50_s": statistics.median(waited),
        f"{name}.launch_p99_s": waited[int(0.99 * (len(waited) - 1))],
    }


def _owner(cluster: Cluster) -> str:
    return str(cluster.wanted.kubernetes["custom_metadata"]["labels"][LABEL_NAME])
