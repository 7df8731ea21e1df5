"""P1, P4 and P7 in what is written of an object, and whether everything is as the specs want it at the end."""

from decimal import Decimal

from deepseek_operator.api import v1alpha1 as api
from deepseek_operator.facts.names import uid_prefix
from tests.simulation.promises.scene import Body, Scene, condition, places, ready
from tests.simulation.promises.traffic import TrafficPromises
from tests.simulation.promises.wishes import Wishes
from tests.simulation.rows import PRICE

__all__ = ["StatusPromises"]


class StatusPromises:
    """Checks statuses, releases, and the end of a schedule."""

    def __init__(self, scene: Scene, wishes: Wishes, traffic: TrafficPromises) -> None:
        self._scene, self._wishes, self._traffic = scene, wishes, traffic
        self._spent: dict[str, Decimal] = {}

    def on_released(self, body: Body) -> None:
        """Check that nothing is left of an object whose finalizer the operator has just removed."""
        left = self._scene.present(body["metadata"]["uid"])
        if left:
            self._scene.broken("P1-released-early", f"{body['metadata']['name']}: {sorted(left)}")

    def on_status(self, body: Body) -> None:
        """Check that a status says why it is not ready, and forgets no money."""
        said = ready(body) or {"status": "", "reason": "", "message": ""}
        lies = said["status"] != "True" and said["reason"] == "Ready"
        if lies or not said["reason"] or not said["message"]:
            self._scene.broken("P4-no-reason", str(ready(body)))
        metadata, spent = body["metadata"], Decimal((body["status"].get("cost") or {}).get("spent") or 0)
        if spent < self._spent.get(metadata["uid"], 0):
            words = f"{metadata['name']} has spent {spent} dollars and had spent more"
            self._scene.broken("P7-spent-less", words)
        self._spent[metadata["uid"]] = spent
        self._wishes.approvals.on_status(body)

    def unfinished(self) -> str:
        """Return what is not yet as the specs want it; empty once everything has converged."""
        scene = self._scene
        alive = {body["metadata"]["uid"]: body for body in scene.kubernetes.list(api.PLURAL)}
        requested = (one.name for one in scene.skypilot.requests.values())
        for name in {*scene.ground.nodes, *scene.skypilot.rows, *requested}:
            if not any(scene.skypilot.belongs(name, uid_prefix(uid)) for uid in alive):
                return f"{name} is left of an object that is gone"
        services = {body["metadata"]["name"] for body in scene.kubernetes.list("services")}
        return next(filter(None, (self._unfinished(body, services) for body in alive.values())), "")

    def _unfinished(self, body: Body, services: set[str]) -> str:
        metadata, status, said = body["metadata"], body.get("status") or {}, ready(body)
        name, uid = metadata["name"], metadata["uid"]
        if metadata.get("deletionTimestamp"):
            return f"{name} is still being deleted: {said}"
        wish, present = self._wishes.last(uid), self._scene.present(uid)
        live = set(filter(self._scene.ground.whole, self._traffic.reachable()[uid]))
        if name not in services:
            return f"{name} has no Service"  # a watch lost its deletion; the next list shows it
        if status.get("observedGeneration") != metadata["generation"]:
            return f"{name}: the status is of an older generation"
        if (condition(body, "Reconciling") or {}).get("status") != "False":
            return f"{name}: {condition(body, 'Reconciling')}"
        is_ready = (said or {}).get("status") == "True"
        if len(present) != wish.replicas or len(live) != wish.replicas or is_ready != (wish.replicas > 0):
            reachable = sorted(map(str, live))
            return f"{name}: {sorted(present)}, reachable {reachable}, Ready {said}, wanted {wish.replicas}"
        rented = sum(nodes.count for nodes in self._scene.ground.of(uid) if not nodes.on_kubernetes)
        if Decimal((status.get("cost") or {}).get("hourly") or 0) != rented * PRICE:
            return f"{name}: {status.get('cost')} for {rented} machines"
        if rented and not places(body):
            return f"{name} is to run in one's own cluster"
        return ""
