"""Short ways to specs and plans."""

from typing import Any

from deepseek_operator.api.spec import DeepSeekDeploymentSpec
from deepseek_operator.catalog import Catalog, load_catalog
from deepseek_operator.launch import Identity
from deepseek_operator.planning import Plan, Planned, plan

__all__ = ["CATALOG", "IDENTITY", "plan_for", "planned", "spec_for"]

CATALOG: Catalog = load_catalog()
IDENTITY = Identity(
    cluster_name="chat-1a2b3c4d-9f8e-0",
    namespace="prod",
    deployment_name="chat",
    deployment_uid="1a2b3c4d-0000-4000-8000-000000000000",
    revision="9f8e7d6c",
    service_account="chat-engine",
)


def spec_for(model: str = "r1-8b", **parts: Any) -> DeepSeekDeploymentSpec:
    """Return a spec; the keywords ``model``, ``engine``, ``resources`` ... are merged into it."""
    own = parts.pop("model_fields", {})
    return DeepSeekDeploymentSpec.model_validate({"model": {"name": model, **own}, **parts})


def plan_for(model: str = "r1-8b", catalog: Catalog = CATALOG, **parts: Any) -> Plan:
    """Return the plan for such a spec."""
    return plan(spec_for(model, **parts), catalog)


def planned(spec: DeepSeekDeploymentSpec) -> Planned:
    """Return a spec together with its plan."""
    return Planned.of(spec, plan(spec, CATALOG))
