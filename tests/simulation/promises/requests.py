"""P1, P2, P6, P7, P8 and P9 where SkyPilot is asked for something."""

import asyncio
from collections.abc import Callable
from decimal import Decimal
from typing import Final

from deepseek_operator.api import v1alpha1 as api
from deepseek_operator.facts.clock import elapsed
from deepseek_operator.facts.skypilot import RequestKind, SkyPilotClusterState
from deepseek_operator.reconcile.replica.stuck import TEARDOWN_S
from tests.simulation.ground import Nodes
from tests.simulation.promises.scene import Body, Scene, places, price
from tests.simulation.promises.traffic import TrafficPromises
from tests.simulation.promises.wishes import LATE_S, Wishes
from tests.simulation.rows import PRICE

__all__ = ["RequestPromises"]

DRAIN_S: Final = 4.0
PASS_S: Final = 5.0
"""Seconds within which everything that a pass asks for is on its way."""
MISLED_S: Final = 60.0
"""Seconds within which a launch that was heard late gets its job, beside that of the launch sent in its place."""
STUCK_S: Final = 180.0
"""Seconds within which a teardown that has taken too long is cancelled, whatever else is away."""


class RequestPromises:
    """Checks what a simulated SkyPilot hears."""

    def __init__(self, scene: Scene, wishes: Wishes, traffic: TrafficPromises) -> None:
        self._scene, self._wishes, self._traffic = scene, wishes, traffic
        self._terminating: dict[str, float] = {}
        self._on_demand: dict[str, bool] = {}
        self._launched: dict[str, float] = {}
        """By cluster: when its last launch was heard."""
        self._misled: dict[str, float] = {}
        """By cluster: when a request was heard late, after the clock by which the operator waits had been set."""

    def heard(self, what: str, cluster: str) -> None:
        """Check a request that the server has just heard, or machines that it has just rented for one."""
        scene = self._scene
        if scene.sent_at is not None and scene.sent_at < scene.clock_moved_at:
            self._misled[cluster] = scene.now()
        if what.startswith("P"):
            if scene.now() - self._misled.get(cluster, -1e9) > MISLED_S:
                scene.broken(what, cluster)
        elif what == "launch":
            self._on_launch(cluster)
            self._launched[cluster] = scene.now()
        elif what == "rent":
            self._on_rent(cluster)
        else:
            self._on_teardown(cluster)

    def _on_launch(self, cluster: str) -> None:
        scene = self._scene
        body = scene.deployment_of(cluster)
        if body is None:
            scene.broken("P1-launch-without-object", cluster)
            return
        metadata = body["metadata"]
        if api.FINALIZER not in (metadata.get("finalizers") or ()):
            scene.broken("P1-launch-without-finalizer", cluster)
        since = self._terminating.get(metadata["namespace"])
        if since is not None and scene.now() - since > LATE_S and not scene.late:
            scene.broken("P2-launch-in-terminating-namespace", cluster)
        # Machines that neither SkyPilot nor Kubernetes shows cannot be counted by anybody.
        lost = {nodes.cluster for nodes in scene.ground.of(metadata["uid"]) if nodes.record_lost}
        hidden = {one for one in lost if one not in scene.skypilot.rows and not scene.ground.nodes[one].on_kubernetes}
        before = scene.present(metadata["uid"]) - hidden
        if cluster not in before and not scene.late:  # else they are nodes that are there already
            self._check_number(body, cluster, before | {cluster})

    def _check_number(self, body: Body, cluster: str, present: set[str]) -> None:
        """Check that a launch makes neither too many replicas, nor more than were approved, nor too dear ones."""
        scene, uid = self._scene, body["metadata"]["uid"]
        recent = self._wishes.recent(uid)
        limit = max((wish.replicas + wish.surge for wish in recent), default=0)
        if len(present) > limit:
            scene.broken("P2-too-many", f"{sorted(present)} of at most {limit}")
        terms = [wish.terms for wish in recent]
        if not self._wishes.approvals.allow(uid, terms, len(present), scene.now() - LATE_S):
            scene.broken("P8-unapproved", f"{cluster}, {len(present)} replicas with it")
        cap = _most([wish.cap for wish in recent])
        cost = len(present) * price(body)
        # Where one's own cluster comes first, a launch may cost nothing, and what it rents is checked then.
        if places(body) and "kubernetes" not in places(body) and cap is not None and cost > cap:
            scene.broken("P7-cap", f"{sorted(present)} cost {cost} of at most {cap} dollars an hour")

    def _on_rent(self, cluster: str) -> None:
        """Check that machines which are being rented, and those that are, cost no more than was allowed meanwhile."""
        scene, body = self._scene, self._scene.deployment_of(cluster)
        if body is None:
            return
        if not places(body):
            scene.broken("P7-rented", f"{cluster} is to run in one's own cluster")
        uid, asked_at = body["metadata"]["uid"], self._launched.get(cluster, scene.now())
        cap = _most([wish.cap for wish in self._wishes.since(uid, asked_at - LATE_S)])
        rented = {nodes.cluster: nodes.count for nodes in scene.ground.of(uid) if self._is_counted(nodes)}
        cost = sum(rented.values()) * PRICE
        if cap is not None and cost > cap:
            scene.broken("P7-cap", f"{sorted(rented)} cost {cost} of at most {cap} dollars an hour")

    def _is_counted(self, nodes: Nodes) -> bool:
        """Return whether anybody can know that nodes are rented."""
        return not nodes.on_kubernetes and (not nodes.record_lost or nodes.cluster in self._scene.skypilot.rows)

    def _on_teardown(self, cluster: str) -> None:
        scene, launched = self._scene, self._launched.get(cluster)
        if scene.sent_at is not None and launched is not None and launched > scene.sent_at:
            scene.broken("P2-teardown-of-successor", f"{cluster} was launched after it was sent")
        nodes, body = scene.ground.nodes.get(cluster), scene.deployment_of(cluster)
        if nodes is None or nodes.engine is None or not nodes.engine.answers or body is None or not nodes.whole:
            return
        if body["metadata"].get("deletionTimestamp"):
            return
        address = nodes.engine.address
        gone_s = scene.now() - self._traffic.left.get(address, -1e9)
        if address in self._traffic.published(nodes.uid):
            scene.broken("P6-torn-down-in-its-service", f"{cluster} at {address}")
        elif gone_s < DRAIN_S and scene.now() - scene.clock_moved_at > 600:
            scene.broken("P6-no-drain", f"{cluster} left its Service {gone_s:.1f} s ago")

    def asked(self, cluster: str, *, spot: bool, asking: Callable[[], bool]) -> None:
        """Check, once all launches of a pass are on their way, that one on spot machines was not due on demand.

        Parameters
        ----------
        spot
            It may rent spot machines.
        asking
            Whether the process that asks is still there. What one that was killed did not ask for, nobody knows.
        """
        self._on_demand[cluster] = not spot
        if spot:
            asyncio.get_running_loop().call_later(PASS_S, self._check_base, cluster, asking, self._known(cluster))

    def _known(self, cluster: str) -> set[str]:
        """Return the replicas of the deployment of a cluster, as the status and the ground show them."""
        body = self._scene.deployment_of(cluster)
        if body is None:
            return set()
        instances = (body.get("status") or {}).get("instances") or ()
        return {one["name"] for one in instances} | self._scene.present(body["metadata"]["uid"])

    def _check_base(self, cluster: str, asking: Callable[[], bool], before: set[str]) -> None:
        body = self._scene.deployment_of(cluster)
        if body is None or not asking() or body["metadata"]["namespace"] in self._terminating:
            return  # the namespace may have refused what the launch on demand needs
        base = min((wish.base for wish in self._wishes.recent(body["metadata"]["uid"])), default=0)
        known = before | self._known(cluster)  # one that was there at the launch may have been edited away since
        of_revision = cluster.rpartition("-")[0]
        there = {name for name in known if name != cluster and name.rpartition("-")[0] == of_revision}
        if sum(map(self._is_on_demand, there)) < base:
            words = f"{cluster} may be spot, beside {sorted(there)}; {base} are to be on demand"
            self._scene.broken("P9-base", words)

    def _is_on_demand(self, cluster: str) -> bool:
        """Return whether a replica is on demand, or its launch was to be."""
        row = self._scene.skypilot.rows.get(cluster)
        up = row is not None and row.state is SkyPilotClusterState.UP
        return self._on_demand.get(cluster, False) or (up and row is not None and not row.spot)

    def tick(self, acting: float) -> None:
        """Check that a teardown that does not end is not left alone: its machines may go on costing money."""
        scene = self._scene
        for one in scene.skypilot.requests.values():
            if one.kind is not RequestKind.DOWN:
                continue
            age = elapsed(scene.skypilot.now(), one.at)
            watched_s = scene.now() - max(acting, scene.clock_moved_at)
            if min(age, watched_s) > TEARDOWN_S + STUCK_S:
                scene.broken("P1-stuck-teardown", f"{one.name} has been torn down for {age:.0f} s")

    def terminating(self, namespace: str, *, since: float | None) -> None:
        """Note that a namespace is being deleted, or is there again."""
        if since is None:
            self._terminating.pop(namespace, None)
        else:
            self._terminating[namespace] = since


def _most(caps: list[Decimal | None]) -> Decimal | None:
    """Return the highest of several limits; None where there was none at some time."""
    known = [cap for cap in caps if cap is not None]
    return max(known) if known and len(known) == len(caps) else None
