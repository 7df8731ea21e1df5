"""P3 and P6: where Services lead, at every write and every second."""

from typing import Final

from deepseek_operator.api import v1alpha1 as api
from deepseek_operator.facts.base import Address
from deepseek_operator.facts.skypilot import RequestKind
from tests.simulation.promises.scene import Body, Scene, condition, ready
from tests.simulation.promises.wishes import Wishes

__all__ = ["TrafficPromises"]

LIE_S: Final = 13.0
"""Seconds after which a dead engine must have left its Service, and Ready must not be True any more."""
NEW_S: Final = 15.0
SECRET_S: Final = 45.0
"""Seconds after which a Secret that somebody has deleted is there again."""
IDLE_S: Final = 25.0
"""Seconds within which an engine that answers is led to, where fewer are led to than are wanted."""
DETECTION_S: Final = 3.0
HEARD_S: Final = 1.0
"""Seconds until the operator has heard that somebody has deleted slices, one after the other."""
_LEADING: Final = ("services", "endpointslices", "pods")
"""Kinds of objects on which it depends where a Service leads."""


class TrafficPromises:
    """Checks where Services lead.

    Attributes
    ----------
    left
        When an address that answered left its Service.
    """

    def __init__(self, scene: Scene, wishes: Wishes) -> None:
        self._scene, self._wishes = scene, wishes
        self.left: dict[Address, float] = {}
        self._published_at: tuple[int | None, ...] = ()
        self._published: dict[str, set[Address]] = {}
        self._lying: dict[str, float] = {}
        self._idle: dict[str, float] = {}

    def published(self, uid: str) -> set[Address]:
        """Return the addresses to which the Service of a deployment leads on its port ``http``."""
        seen = tuple(map(self._scene.kubernetes.changed_at.get, _LEADING))
        if self._published_at != seen:
            self._published_at, self._published = seen, {}
        if uid not in self._published:
            self._published[uid] = self._find_published(uid)
        return self._published[uid]

    def _find_published(self, uid: str) -> set[Address]:
        kubernetes, proxies = self._scene.kubernetes, self._scene.proxies
        services = kubernetes.list("services", selector=f"{api.LABEL_UID}={uid}")
        names = {body["metadata"]["name"] for body in services}
        deployments = (body["metadata"] for body in kubernetes.list(api.PLURAL))
        if not any(one["name"] in names and one["uid"] == uid for one in deployments):
            return set()
        leads = proxies.leads(uid)
        proxied = any(map(proxies.runs, leads.fronts))
        return set(leads.direct | leads.members if proxied else leads.direct)

    def reachable(self) -> dict[str, set[Address]]:
        """Return, by UID, the addresses that clients reach through a Service and that answer."""
        return {
            body["metadata"]["uid"]: set(filter(self._seems_alive, self.published(body["metadata"]["uid"])))
            for body in self._scene.kubernetes.list(api.PLURAL)
        }

    def _seems_alive(self, address: Address) -> bool:
        """Return whether an engine answers, or died so recently that nobody can know."""
        ground = self._scene.ground
        return ground.serves(address) or self._scene.now() - ground.died.get(address, -1e9) < DETECTION_S

    def on_write(self, before: dict[str, set[Address]]) -> None:
        """Check a write of the operator that may have changed where Services lead."""
        ground, after = self._scene.ground, self.reachable()
        for uid, had in before.items():
            removed = had - after.get(uid, set())
            useful = filter(ground.whole, filter(ground.answers, removed))
            # The address of a pod that is gone may be that of another deployment's by now.
            owned = (address for address in useful if self._belongs(address, uid))
            lost = {address for address in owned if not self._is_new(address)}
            for address in lost:
                self.left[address] = self._scene.now()
            if not lost or uid not in after or self._scene.now() - self._scene.slices_gone_at < HEARD_S:
                continue
            needed = min((max(0, wish.replicas - wish.unavailable) for wish in self._wishes.recent(uid)), default=0)
            if len(after[uid]) < min(len(after[uid]) + len(lost), needed):
                words = f"{sorted(map(str, lost))} answered, {len(after[uid])} left of {needed}"
                self._scene.broken("P6-drop", words)

    def _is_new(self, address: Address) -> bool:
        """Return whether nobody counts on the engine at an address yet: it has begun to answer a moment ago, or unseen.

        Of pods that came while a watch lost events nothing is known. One may have the address of an earlier pod.
        """
        nodes, (gap_since, gap_until) = self._scene.ground.at(address), self._scene.gap
        if nodes is None or nodes.engine is None or self._scene.now() - nodes.engine.since < NEW_S:
            return True
        if gap_since < nodes.engine.since < gap_until:
            return True
        if nodes.record_lost and not nodes.on_kubernetes and not self._noted(nodes.uid, address):
            return (
                True  # SkyPilot has lost its record of a machine, and no status could be written that knows the address
            )
        return any(one.name == nodes.cluster for one in self._scene.skypilot.requests.values())

    def _noted(self, uid: str, address: Address) -> bool:
        bodies = (body for body in self._scene.kubernetes.list(api.PLURAL) if body["metadata"]["uid"] == uid)
        instances = [one for body in bodies for one in (body.get("status") or {}).get("instances") or ()]
        return any((one.get("ledger") or {}).get("address") == str(address) for one in instances)

    def forget_lies(self) -> None:
        """Begin to count anew: nobody acts who could have mended anything."""
        self._lying.clear()
        self._idle.clear()

    def tick(self, acting: float) -> None:
        """Check that no Service has led to a dead engine for long, and that no Ready has been a lie for long."""
        now = self._scene.now()
        lying = {lie for body in self._scene.kubernetes.list(api.PLURAL) for lie in self._lies(body)}
        for what in lying:
            since = max(self._lying.setdefault(what, now), acting)
            if now - since > LIE_S:
                self._scene.broken(what.split()[0], f"{what} for {now - since:.0f} s")
        self._lying = {what: since for what, since in self._lying.items() if what in lying}
        mended = now - self._scene.secret_gone_at > SECRET_S
        bodies = self._scene.kubernetes.list(api.PLURAL) if self._scene.informed and mended else ()
        idle = {cluster for body in bodies for cluster in self._unused(body)}
        self._idle = {cluster: self._idle.get(cluster, now) for cluster in idle}
        for cluster, since in self._idle.items():
            if now - max(since, acting) > IDLE_S:
                self._scene.broken("P6-unused", f"{cluster} has answered for {now - since:.0f} s, and fewer are led to")

    def _unused(self, body: Body) -> set[str]:
        """Return replicas that answer, to which no Service leads although fewer than wanted are led to."""
        metadata, skypilot, ground = body["metadata"], self._scene.skypilot, self._scene.ground
        if self._scene.kubernetes.get("services", metadata["namespace"], metadata["name"]) is None:
            return set()  # somebody has deleted it, and a watch may have lost that
        uid = metadata["uid"]
        published = set(filter(ground.answers, self.published(uid)))
        wanted = min((wish.replicas for wish in self._wishes.recent(uid)), default=0)
        if len(published) >= wanted or metadata.get("deletionTimestamp"):
            return set()
        instances = (body.get("status") or {}).get("instances") or ()
        busy = {one.name for one in skypilot.requests.values()}
        # A teardown without an answer may be carried out at any moment for two minutes.
        torn = (one for one in instances if (one.get("ledger") or {}).get("unanswered") == RequestKind.DOWN)
        busy |= {one["name"] for one in (*torn, *(one for one in instances if one["phase"] == "Terminating"))}
        planned = condition(body, "Planned")
        if planned is not None and planned["status"] == "False":
            # Only a plan says on which port an engine listens whose launch no status could note.
            busy |= {one["name"] for one in instances if (one.get("ledger") or {}).get("port") is None}
        return {
            nodes.cluster
            for nodes in ground.of(uid)
            if nodes.whole
            and nodes.engine is not None
            and nodes.engine.answers
            and nodes.cluster not in busy
            and nodes.cluster in skypilot.rows
            and nodes.engine.address not in published
        }

    def _lies(self, body: Body) -> set[str]:
        """Return what is not so now, although a Service or a status says it."""
        uid, name = body["metadata"]["uid"], body["metadata"]["name"]
        published = self.published(uid)
        live = {address for address in published if self._serves(address, uid)}
        lies = {f"P3-slice-dead {name} {address}" for address in published - live}
        lies |= {f"P3-refused {name} {engine} by {front}" for front, engine in self._scene.proxies.refused(uid)}
        said = ready(body)
        if said is not None and said["status"] == "True" and not live:
            lies.add(f"P3-ready-lie {name}")
        return lies

    def _serves(self, address: Address, uid: str) -> bool:
        return self._belongs(address, uid) and self._scene.ground.serves(address)

    def _belongs(self, address: Address, uid: str) -> bool:
        nodes = self._scene.ground.at(address)
        return nodes is not None and nodes.uid == uid
