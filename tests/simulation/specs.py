"""What the two deployments of a schedule ask for."""

from typing import Any, Final

from tests.simulation.schedule import Schedule

__all__ = ["LOCAL", "NAMESPACE", "OWN_SECRET", "RENTED", "kinds", "spec_of"]

Body = dict[str, Any]

NAMESPACE: Final = "serving"
OWN_SECRET: Final = "own"
"""Name of a Secret that a user made."""
LOCAL: Final[Body] = {
    "model": {"name": "tiny", "path": "/models/tiny"},
    "engine": {"name": "VLLM", "image": "localhost/engine:1"},
    "resources": {"accelerators": [], "cpus": "1+", "memory": "2+"},
}
RENTED: Final[Body] = {
    "model": {"name": "deepseek-ai/DeepSeek-R1-Distill-Llama-8B"},
    "engine": {"name": "VLLM"},
    "resources": {"accelerators": ["L4:1"], "infra": ["aws"]},
}


def kinds(base: int) -> Body:
    """Return the part of ``spec.resources`` that asks for spot machines, and for so many replicas on demand."""
    return {"capacityType": "SpotThenOnDemand", "capacity": {"onDemandBase": base}}


def spec_of(schedule: Schedule, name: str) -> Body:
    """Return the spec of a deployment of a schedule, without its replicas: ``a`` is local, ``b`` may be rented."""
    rents = name == "b" and schedule.rented
    spec = RENTED if rents else LOCAL
    resources = dict(spec["resources"])
    if rents and schedule.listed:
        resources["infra"] = ["kubernetes", "aws"]
    if name == "b" and schedule.base is not None:
        resources |= kinds(schedule.base)
    if schedule.nodes > 1:
        resources["nodes"] = schedule.nodes
    key = {"endpoint": {"apiKeySecretRef": {"name": OWN_SECRET, "key": "token"}}} if schedule.own_key else {}
    return {**spec, "resources": resources, **key}
