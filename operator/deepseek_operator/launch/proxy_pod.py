"""What an administrator says of the pods of every proxy: the part of a pod that the cluster decides."""

import json
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from deepseek_operator.api.base import SpecModel

__all__ = ["ProxyPod"]

_USER: Final = 65532
_NOT_PLACEMENT: Final = {"labels", "annotations", "resources", "security_context"}

Quantity = str | int
PullSecret = dict[Literal["name"], str]
Id = Annotated[int, Field(ge=1)]


class ProxyPod(SpecModel):
    """Fields of a pod by their names in Kubernetes; the API server judges what is in them.

    Attributes
    ----------
    resources
        Of the one container.
    security_context
        Ids to run as. None of one kind: the cluster's choice, or else the image's.
    """

    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    image_pull_secrets: tuple[PullSecret, ...] = ()
    node_selector: dict[str, str] = {}
    tolerations: tuple[dict[str, Any], ...] = ()
    affinity: dict[str, Any] = {}
    priority_class_name: str = ""
    resources: dict[Literal["requests", "limits"], dict[str, Quantity]] = {
        "requests": {"cpu": "50m", "memory": "128Mi"},
        "limits": {"memory": "1Gi"},
    }
    security_context: dict[Literal["runAsUser", "runAsGroup"], Id] = {"runAsUser": _USER, "runAsGroup": _USER}

    def __hash__(self) -> int:
        """Return the same for equal ones, although there are mappings in them."""
        return hash(json.dumps(self.model_dump(mode="json"), sort_keys=True))

    def placement(self) -> dict[str, Any]:
        """Return the fields of the PodSpec that say where the pods run and whence their image may come, if any do."""
        whole = self.model_dump(mode="json", by_alias=True, exclude=_NOT_PLACEMENT)
        return {name: value for name, value in whole.items() if value}
