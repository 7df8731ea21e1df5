"""``config.kubernetes.pod_config`` of a task: ``spec.podTemplate`` and secrets in the form of a pod."""

from collections.abc import Mapping
from typing import Any

from deepseek_operator.api.pod_template import PodTemplate
from deepseek_operator.api.spec import SecretKeyRef
from deepseek_operator.launch.script import IN_CLUSTER_VARIABLE

__all__ = ["pod_config"]

_CONTAINER = "ray-node"
"""SkyPilot's name for the container that runs the task; containers merge by name."""


def pod_config(template: PodTemplate, secrets: Mapping[str, SecretKeyRef]) -> dict[str, Any]:
    """Return the part of the pod that is ours. SkyPilot merges it into its own: maps by key, lists by name."""
    container: dict[str, Any] = {"name": _CONTAINER, "imagePullPolicy": "IfNotPresent"}
    variables: list[dict[str, Any]] = [
        {"name": name, "valueFrom": {"secretKeyRef": {"name": ref.name, "key": ref.key}}}
        for name, ref in secrets.items()
    ]
    # Also where the launch could rent nothing, as while a place is left out: the task that starts the engine again may
    # list a cloud, and then asks for this variable.
    variables.append({"name": IN_CLUSTER_VARIABLE, "value": "1"})
    container["env"] = variables
    if template.volume_mounts:
        container["volumeMounts"] = [dict(mount) for mount in template.volume_mounts]
    # Else a Service of the name vllm becomes VLLM_PORT=tcp://..., with which vLLM does not start.
    spec: dict[str, Any] = {"enableServiceLinks": False, "containers": [container]}
    if template.volumes:
        spec["volumes"] = [dict(volume) for volume in template.volumes]
    if template.node_selector:
        spec["nodeSelector"] = dict(template.node_selector)
    if template.tolerations:
        spec["tolerations"] = [
            toleration.model_dump(by_alias=True, exclude_none=True) for toleration in template.tolerations
        ]
    if template.priority_class_name is not None:
        spec["priorityClassName"] = template.priority_class_name
    if template.scheduler_name is not None:
        spec["schedulerName"] = template.scheduler_name
    if template.image_pull_secrets:
        spec["imagePullSecrets"] = [{"name": name} for name in template.image_pull_secrets]
    metadata = {
        key: dict(value) for key, value in (("labels", template.labels), ("annotations", template.annotations)) if value
    }
    return {**({"metadata": metadata} if metadata else {}), "spec": spec}
