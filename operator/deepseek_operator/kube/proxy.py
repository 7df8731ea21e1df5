"""The objects that a proxy consists of, besides the Services by which it finds engines. Pure."""

from collections.abc import Callable
from typing import Any, Final

from deepseek_operator.facts.kubernetes import COMPONENT, PROXY, PROXY_REVISION
from deepseek_operator.facts.names import proxy_name
from deepseek_operator.facts.text import clean
from deepseek_operator.kube.resources import APP_DEPLOYMENTS, CONFIG_MAPS, DISRUPTION_BUDGETS, Resource
from deepseek_operator.launch.proxy import (
    CONFIG_KEY,
    ProxySpec,
    haproxy_config,
    pod_template,
    proxy_revision,
    proxy_selector,
)

__all__ = ["PROXY_RESOURCES", "proxy_objects", "refused_pods"]

Body = dict[str, Any]

PROXY_RESOURCES: Final = (APP_DEPLOYMENTS, DISRUPTION_BUDGETS, CONFIG_MAPS)
"""In the order in which they are deleted."""


def proxy_objects(spec: ProxySpec, owned: Callable[[str, str, str], Body]) -> list[tuple[Resource, Body]]:
    """Return what is to be applied, in this order.

    Parameters
    ----------
    owned
        Makes the head of an object from its API version, kind and name.
    """
    name = proxy_name(spec.name)
    selector = proxy_selector(spec.uid)
    config_map = owned("v1", "ConfigMap", name) | {"data": {CONFIG_KEY: haproxy_config(spec)}}
    budget = owned("policy/v1", "PodDisruptionBudget", name) | {
        "spec": {
            "maxUnavailable": 1,
            "selector": {"matchLabels": selector},
            # A proxy without an engine is not ready, and helps nobody by staying on a node that is drained.
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        }
    }
    deployment = owned("apps/v1", "Deployment", name)
    labels = {**deployment["metadata"]["labels"], COMPONENT: PROXY}
    deployment["metadata"]["labels"] = labels
    deployment["spec"] = {
        "replicas": spec.settings.replicas,
        "revisionHistoryLimit": 2,
        "selector": {"matchLabels": selector},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
        "template": pod_template(spec, {**labels, PROXY_REVISION: proxy_revision(spec)}),
    }
    return [(CONFIG_MAPS, config_map), (DISRUPTION_BUDGETS, budget), (APP_DEPLOYMENTS, deployment)]


def refused_pods(body: Body) -> str | None:
    """Return why Kubernetes may not make pods of a Deployment, in its own words; None if it may."""
    conditions = (body.get("status") or {}).get("conditions") or ()
    failed = (one for one in conditions if (one.get("type"), one.get("status")) == ("ReplicaFailure", "True"))
    return next((clean(one.get("message") or "its pods are refused") for one in failed), None)
