"""The promises P1 to P9 as checks of what is really there, made at every request and every second."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, Final

from deepseek_operator.api import v1alpha1 as api
from deepseek_operator.facts.base import Address
from deepseek_operator.facts.clock import elapsed
from deepseek_operator.facts.names import parse_cluster_name, uid_prefix
from deepseek_operator.facts.skypilot import RequestKind, SkyPilotClusterState
from deepseek_operator.reconcile.replica.stuck import TEARDOWN_S
from tests.simulation.approvals import Approvals, Terms
from tests.simulation.ground import Ground
from tests.simulation.kubernetes import SimulatedKubernetes
from tests.simulation.proxies import SimulatedProxies
from tests.simulation.skypilot import PRICE, SimulatedSkyPilot

__all__ = ["Promises", "Violation"]

Body = dict[str, Any]

LIE_S = 13.0
"""Seconds after which a dead engine must have left its Service, and Ready must not be True any more."""
LATE_S = 10.0
"""Seconds for which a decision may still be made from an older spec: watches, kills and stalls delay the news."""
DRAIN_S = 4.0
NEW_S = 15.0
DETECTION_S = 3.0
PASS_S = 5.0
"""Seconds within which everything that a pass asks for is on its way."""
STUCK_S = 180.0
"""Seconds within which a teardown that has taken too long is cancelled, whatever else is away."""
_LEADING: Final = ("services", "endpointslices", "pods")
"""Kinds of objects on which it depends where a Service leads."""


@dataclass(frozen=True)
class Violation:
    """A promise that was broken, when, and what was seen."""

    promise: str
    at: float
    detail: str

    def __str__(self) -> str:
        """Return one line."""
        return f"{self.promise} at {self.at:.1f} s: {self.detail}"


@dataclass
class _Wish:
    """What somebody wanted of a deployment from some moment on."""

    since: float
    replicas: int
    surge: int
    unavailable: int
    terms: Terms
    cap: Decimal | None = None
    base: int = 0


@dataclass
class Promises:
    """Watches a simulated world.

    Attributes
    ----------
    found
        What was broken.
    acting
        An operator has been running and the API server answering since then; None if not.
    sent_at
        When what is heard now was sent, if that was a while ago and its sender has given up; None if not.
    clock_moved_at
        When somebody set the clock, which makes a wait shorter or longer than it should be.
    """

    kubernetes: SimulatedKubernetes
    skypilot: SimulatedSkyPilot
    ground: Ground
    proxies: SimulatedProxies
    now: Any
    found: list[Violation] = field(default_factory=list)
    acting: float | None = None
    sent_at: float | None = None
    clock_moved_at: float = -1e9
    approvals: Approvals = field(default_factory=Approvals)
    _spent: dict[str, Decimal] = field(default_factory=dict)
    _published_at: tuple[int | None, ...] = ()
    _published: dict[str, set[Address]] = field(default_factory=dict)
    _wishes: dict[str, list[_Wish]] = field(default_factory=dict)
    _lying: dict[str, float] = field(default_factory=dict)
    _left: dict[Address, float] = field(default_factory=dict)
    _terminating: dict[str, float] = field(default_factory=dict)
    _on_demand: dict[str, bool] = field(default_factory=dict)
    _launched: dict[str, float] = field(default_factory=dict)
    """By cluster: when its last launch was heard."""

    @property
    def late(self) -> bool:
        """Whether what is heard now was sent a while ago."""
        return self.sent_at is not None

    def broken(self, promise: str, detail: str) -> None:
        """Note a broken promise."""
        self.found.append(Violation(promise, self.now(), detail))

    # --- what people want --------------------------------------------------------------------------------------------

    def wish(self, body: Body) -> None:
        """Note what the spec of a deployment wants from now on."""
        spec, metadata = body["spec"], body["metadata"]
        gone = bool(spec.get("suspend") or metadata.get("deletionTimestamp"))
        replicas = 0 if gone else int(spec.get("replicas", 1))
        strategy = spec.get("updateStrategy") or {}
        wishes = self._wishes.setdefault(metadata["uid"], [])
        surge, unavailable = int(strategy.get("maxSurge", 1)), int(strategy.get("maxUnavailable", 0))
        cap = spec["resources"].get("maxHourlyCost")
        terms, limit = self.approvals.wish(body), Decimal(cap) if cap is not None else None
        base = min(replicas, int((spec["resources"].get("capacity") or {}).get("onDemandBase", 0)))
        wishes.append(_Wish(self.now(), replicas, surge, unavailable, terms, limit, base))

    def api_back(self, since: float) -> None:
        """Note that the API server answers again: what was wished while it was away is told from now on, in order."""
        for uid, wishes in self._wishes.items():
            self._wishes[uid] = [replace(one, since=self.now()) if one.since >= since else one for one in wishes]

    def _recent(self, uid: str) -> list[_Wish]:
        wishes = self._wishes.get(uid, [])
        older = [wish for wish in wishes if wish.since <= self.now() - LATE_S]
        return [*older[-1:], *(wish for wish in wishes if wish.since > self.now() - LATE_S)]

    # --- P1 and P2, at requests to SkyPilot --------------------------------------------------------------------------

    def on_request(self, what: str, cluster: str) -> None:
        """Check a request that the server has just heard."""
        if what.startswith("P"):
            self.broken(what, cluster)
        elif what == "launch":
            self._on_launch(cluster)
            self._launched[cluster] = self.now()
        else:
            self._on_teardown(cluster)

    def _on_launch(self, cluster: str) -> None:
        body = self._deployment_of(cluster)
        if body is None:
            self.broken("P1-launch-without-object", cluster)
            return
        metadata = body["metadata"]
        if api.FINALIZER not in (metadata.get("finalizers") or ()):
            self.broken("P1-launch-without-finalizer", cluster)
        since = self._terminating.get(metadata["namespace"])
        if since is not None and self.now() - since > LATE_S and not self.late:
            self.broken("P2-launch-in-terminating-namespace", cluster)
        # Machines that neither SkyPilot nor Kubernetes shows cannot be counted by anybody.
        lost = {nodes.cluster for nodes in self.ground.of(metadata["uid"]) if nodes.record_lost}
        hidden = {name for name in lost if name not in self.skypilot.rows and not self.ground.nodes[name].on_kubernetes}
        before = self._present(metadata["uid"]) - hidden
        if cluster in before:
            return  # nodes that are there already
        present = before | {cluster}
        limit = max((wish.replicas + wish.surge for wish in self._recent(metadata["uid"])), default=0)
        if len(present) > limit and not self.late:
            self.broken("P2-too-many", f"{sorted(present)} of at most {limit}")
        terms = [wish.terms for wish in self._recent(metadata["uid"])]
        if not self.late and not self.approvals.allow(metadata["uid"], terms, len(present), self.now() - LATE_S):
            self.broken("P8-unapproved", f"{cluster}, {len(present)} replicas with it")
        caps = [wish.cap for wish in self._recent(metadata["uid"])]
        if _rents(body) and None not in caps and not self.late:
            cap = max(cap for cap in caps if cap is not None)
            cost = len(present) * _price(body)
            if cost > cap:
                self.broken("P7-cap", f"{sorted(present)} cost {cost} of at most {cap} dollars an hour")

    def _present(self, uid: str) -> set[str]:
        names = {nodes.cluster for nodes in self.ground.of(uid)}
        names |= {name for name in self.skypilot.rows if self.skypilot.belongs(name, uid_prefix(uid))}
        requests = [one for one in self.skypilot.requests.values() if one.kind is not RequestKind.DOWN]
        return names | {one.name for one in requests if self.skypilot.belongs(one.name, uid_prefix(uid))}

    def _on_teardown(self, cluster: str) -> None:
        launched = self._launched.get(cluster)
        if self.sent_at is not None and launched is not None and launched > self.sent_at:
            self.broken(
                "P2-teardown-of-successor", f"{cluster}, sent {launched - self.sent_at:.0f} s before its launch"
            )
        nodes = self.ground.nodes.get(cluster)
        body = self._deployment_of(cluster)
        if nodes is None or nodes.engine is None or not nodes.engine.answers or body is None or not nodes.whole:
            return
        if body["metadata"].get("deletionTimestamp"):
            return
        address = nodes.engine.address
        if address in self.published(nodes.uid):
            self.broken("P6-torn-down-in-its-service", f"{cluster} at {address}")
        elif self.now() - self._left.get(address, -1e9) < DRAIN_S and self.now() - self.clock_moved_at > 600:
            self.broken("P6-no-drain", f"{cluster} left its Service {self.now() - self._left[address]:.1f} s ago")

    # --- P9, at launches ---------------------------------------------------------------------------------------------

    def on_asked(self, cluster: str, *, spot: bool, asking: Callable[[], bool]) -> None:
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
            asyncio.get_running_loop().call_later(PASS_S, self._check_base, cluster, asking)

    def _check_base(self, cluster: str, asking: Callable[[], bool]) -> None:
        body = self._deployment_of(cluster)
        if body is None or not asking():
            return
        base = min((wish.base for wish in self._recent(body["metadata"]["uid"])), default=0)
        known = {one["name"] for one in (body.get("status") or {}).get("instances") or ()}
        known |= self._present(body["metadata"]["uid"])
        of_revision = cluster.rpartition("-")[0]
        there = {name for name in known if name != cluster and name.rpartition("-")[0] == of_revision}
        if sum(map(self._is_on_demand, there)) < base:
            self.broken("P9-base", f"{cluster} may be spot, beside {sorted(there)}; {base} are to be on demand")

    def _is_on_demand(self, cluster: str) -> bool:
        """Return whether a replica is on demand, or its launch was to be."""
        row = self.skypilot.rows.get(cluster)
        up = row is not None and row.state is SkyPilotClusterState.UP
        return self._on_demand.get(cluster, False) or (up and row is not None and not row.spot)

    # --- P6, at writes in Kubernetes ---------------------------------------------------------------------------------

    def published(self, uid: str) -> set[Address]:
        """Return the addresses to which the Service of a deployment leads on its port ``http``."""
        seen = tuple(map(self.kubernetes.changed_at.get, _LEADING))
        if self._published_at != seen:
            self._published_at, self._published = seen, {}
        if uid not in self._published:
            self._published[uid] = self._find_published(uid)
        return self._published[uid]

    def _find_published(self, uid: str) -> set[Address]:
        names = {body["metadata"]["name"] for body in self._services() if _uid(body) == uid}
        deployments = (body["metadata"] for body in self.kubernetes.list(api.PLURAL))
        if not any(one["name"] in names and one["uid"] == uid for one in deployments):
            return set()
        leads = self.proxies.leads(uid)
        proxied = any(map(self.proxies.runs, leads.fronts))
        return set(leads.direct | leads.members if proxied else leads.direct)

    def _services(self) -> Iterable[Body]:
        return self.kubernetes.list("services", selector=api.LABEL_UID)

    def reachable(self) -> dict[str, set[Address]]:
        """Return, by UID, the addresses that clients reach through a Service and that answer."""
        return {
            body["metadata"]["uid"]: set(filter(self._seems_alive, self.published(body["metadata"]["uid"])))
            for body in self.kubernetes.list(api.PLURAL)
        }

    def _seems_alive(self, address: Address) -> bool:
        """Return whether an engine answers, or died so recently that nobody can know."""
        return self.ground.serves(address) or self.now() - self.ground.died.get(address, -1e9) < DETECTION_S

    def on_write(self, before: dict[str, set[Address]]) -> None:
        """Check a write of the operator that may have changed where Services lead."""
        after = self.reachable()
        for uid, had in before.items():
            removed = had - after.get(uid, set())
            useful = filter(self.ground.whole, filter(self.ground.answers, removed))
            lost = {address for address in useful if not self._is_new(address)}
            for address in lost:
                self._left[address] = self.now()
            if not lost or uid not in after:
                continue
            needed = min((max(0, wish.replicas - wish.unavailable) for wish in self._recent(uid)), default=0)
            if len(after[uid]) < min(len(after[uid]) + len(lost), needed):
                self.broken("P6-drop", f"{sorted(map(str, lost))} answered, {len(after[uid])} left of {needed}")

    def _is_new(self, address: Address) -> bool:
        """Return whether the engine at an address has begun to answer so recently that nobody counts on it yet."""
        nodes = self.ground.at(address)
        if nodes is None or nodes.engine is None or self.now() - nodes.engine.since < NEW_S:
            return True
        return any(one.name == nodes.cluster for one in self.skypilot.requests.values())

    def on_released(self, body: Body) -> None:
        """Check that nothing is left of an object whose finalizer the operator has just removed."""
        metadata = body["metadata"]
        left = self._present(metadata["uid"])
        if left:
            self.broken("P1-released-early", f"{metadata['name']}: {sorted(left)}")

    def on_status(self, body: Body) -> None:
        """Check that a status says why it is not ready, and forgets no money."""
        ready = _ready(body)
        said = ready if ready is not None else {"status": "", "reason": "", "message": ""}
        lies = said["status"] != "True" and said["reason"] == "Ready"
        if lies or not said["reason"] or not said["message"]:
            self.broken("P4-no-reason", str(ready))
        spent = Decimal((body["status"].get("cost") or {}).get("spent") or 0)
        if spent < self._spent.get(body["metadata"]["uid"], 0):
            self.broken("P7-spent-less", f"{body['metadata']['name']} has spent {spent} dollars and had spent more")
        self._spent[body["metadata"]["uid"]] = spent
        self.approvals.on_status(body)

    # --- P3, every second --------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Check that no Service has led to a dead engine for long, and that no Ready has been a lie for long."""
        if self.acting is None:
            self._lying.clear()
            return
        self._check_teardowns(self.acting)
        lying: set[str] = set()
        for body in self.kubernetes.list(api.PLURAL):
            metadata = body["metadata"]
            uid, name = metadata["uid"], metadata["name"]
            dead = [address for address in self.published(uid) if not self._serves(address, uid)]
            lying |= {f"P3-slice-dead {name} {address}" for address in dead}
            lying |= {f"P3-refused {name} {engine} by {front}" for front, engine in self.proxies.refused(uid)}
            ready = _ready(body)
            live = [address for address in self.published(uid) if self._serves(address, uid)]
            if ready is not None and ready["status"] == "True" and not live:
                lying.add(f"P3-ready-lie {name}")
        for what in lying:
            since = max(self._lying.setdefault(what, self.now()), self.acting)
            if self.now() - since > LIE_S:
                self.broken(what.split()[0], f"{what} for {self.now() - since:.0f} s")
        self._lying = {what: since for what, since in self._lying.items() if what in lying}

    def _check_teardowns(self, acting: float) -> None:
        """Check that a teardown that does not end is not left alone: its machines may go on costing money."""
        for one in self.skypilot.requests.values():
            age = elapsed(self.skypilot.now(), one.at)
            watched_s = self.now() - max(acting, self.clock_moved_at)
            if one.kind is RequestKind.DOWN and min(age, watched_s) > TEARDOWN_S + STUCK_S:
                self.broken("P1-stuck-teardown", f"{one.name} has been torn down for {age:.0f} s")

    def _serves(self, address: Address, uid: str) -> bool:
        nodes = self.ground.at(address)
        return nodes is not None and nodes.uid == uid and self.ground.serves(address)

    # --- at the end --------------------------------------------------------------------------------------------------

    def unfinished(self) -> str:
        """Return what is not yet as the specs want it; empty once everything has converged."""
        alive = {body["metadata"]["uid"]: body for body in self.kubernetes.list(api.PLURAL)}
        for name in {*self.ground.nodes, *self.skypilot.rows, *(one.name for one in self.skypilot.requests.values())}:
            if not any(self.skypilot.belongs(name, uid_prefix(uid)) for uid in alive):
                return f"{name} is left of an object that is gone"
        services = {body["metadata"]["name"] for body in self.kubernetes.list("services")}
        for uid, body in alive.items():
            if body["metadata"].get("deletionTimestamp"):
                return f"{body['metadata']['name']} is still being deleted: {_ready(body)}"
            wish = self._wishes[uid][-1]
            present, live = self._present(uid), set(filter(self.ground.whole, self.reachable()[uid]))
            ready = (_ready(body) or {}).get("status") == "True"
            if body["metadata"]["name"] not in services:
                return f"{body['metadata']['name']} has no Service"  # a watch lost its deletion; the next list shows it
            if (body.get("status") or {}).get("observedGeneration") != body["metadata"]["generation"]:
                return f"{body['metadata']['name']}: the status is of an older generation"
            if (_condition(body, "Reconciling") or {}).get("status") != "False":
                return f"{body['metadata']['name']}: {_condition(body, 'Reconciling')}"
            if len(present) != wish.replicas or len(live) != wish.replicas or ready != (wish.replicas > 0):
                return (
                    f"{body['metadata']['name']}: {sorted(present)}, reachable {sorted(map(str, live))}, Ready "
                    f"{_ready(body)}, wanted {wish.replicas}"
                )
            hourly = Decimal(((body.get("status") or {}).get("cost") or {}).get("hourly") or 0)
            if _rents(body) and hourly != wish.replicas * _price(body):
                return f"{body['metadata']['name']}: {hourly} dollars an hour for {wish.replicas} machines"
        return ""

    def terminating(self, namespace: str, *, since: float | None) -> None:
        """Note that a namespace is being deleted, or is there again."""
        if since is None:
            self._terminating.pop(namespace, None)
        else:
            self._terminating[namespace] = since

    def _deployment_of(self, cluster: str) -> Body | None:
        parsed = parse_cluster_name(cluster)
        for body in self.kubernetes.list(api.PLURAL):
            if parsed is not None and uid_prefix(body["metadata"]["uid"]) == parsed.uid:
                return body
        return None


def _uid(body: Body) -> str:
    return str((body["metadata"].get("labels") or {}).get(api.LABEL_UID, ""))


def _price(body: Body) -> Decimal:
    """Return what a replica costs, in US dollars an hour."""
    return PRICE * int(body["spec"]["resources"].get("nodes", 1))


def _rents(body: Body) -> bool:
    return bool(body["spec"]["resources"].get("infra"))


def _ready(body: Body) -> Body | None:
    return _condition(body, "Ready")


def _condition(body: Body, kind: str) -> Body | None:
    conditions = (body.get("status") or {}).get("conditions") or ()
    return next((condition for condition in conditions if condition["type"] == kind), None)
