"""What is put into a store of one deployment, what is read from it, and whom it wakes."""

from typing import Any

from deepseek_operator.facts.store import Key, Store
from deepseek_operator.facts.world import World
from tests.unit.reconcile import builders as b

KEY: Key = ("serving", "r1")
DSD = b.deployment()
R1 = b.name(DSD)
NEW_UID = "ffffffff-0000-0000-0000-000000000000"


class Woken(list[Key]):
    """Keys that were woken since the last look."""

    def all(self) -> list[Key]:
        found = list(self)
        self.clear()
        return found


def body(version: int = 1, uid: str = b.UID, **spec: Any) -> dict[str, Any]:
    """The deployment as the API server sends it."""
    metadata = {"name": "r1", "namespace": "serving", "uid": uid, "resourceVersion": str(version)}
    return {"metadata": metadata, "spec": {**b.CPU_SPEC, **spec}}


def world(store: Store) -> World:
    """What the store joins for the deployment."""
    found = store.world(KEY, b.NOW)
    assert found is not None
    return found


def pod_body(name: str, version: int = 1) -> dict[str, Any]:
    """An object of the deployment's namespace as the API server sends it."""
    return {"metadata": {"name": name, "namespace": "serving", "resourceVersion": str(version)}}


def snapshot(store: Store, *things: Any, sequence: int | None = None) -> None:
    """Let SkyPilot show these clusters and requests."""
    clusters = {thing.name: thing for thing in things if hasattr(thing, "hash")}
    requests: dict[str, Any] = {}
    for thing in things:
        if hasattr(thing, "kind"):
            requests[thing.cluster_name] = (*requests.get(thing.cluster_name, ()), thing)
    store.put_snapshot(sequence or store.ask_snapshot(), b.NOW, clusters, requests)
