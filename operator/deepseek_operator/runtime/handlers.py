"""kopf handlers: they pass what a watch saw to the feed and do nothing else.

With ``on.event`` handlers only, kopf writes no annotations, and kopf does not retry our handlers: the work queue does.
"""

from collections.abc import Callable, Mapping
from typing import Any

import kopf

from deepseek_operator.api import v1alpha1 as api
from deepseek_operator.kube.resources import MANAGED_BY

__all__ = ["NoDiffs", "register"]

Event = Callable[[str, str | None, Mapping[str, Any]], None]
"""Kind, type of the event (None for the initial list), and the object."""


class NoDiffs(kopf.DiffBaseStorage):
    """Keeps kopf from copying each object, to find differences that only handlers of changes want. There are none."""

    def build(self, **_: Any) -> kopf.BodyEssence:
        """Return an empty essence."""
        return kopf.BodyEssence({})

    def fetch(self, **_: Any) -> kopf.BodyEssence | None:
        """Return nothing: no essence is stored."""
        return None

    def store(self, **_: Any) -> None:
        """Store nothing."""


def register(registry: kopf.OperatorRegistry, event: Event, *, namespaces: bool) -> None:
    """Pass every event of deployments, and of the pods, Services and slices of deployments, to ``event``.

    Parameters
    ----------
    namespaces
        Whether namespaces may be watched, too, which needs a right on the whole cluster.
    """

    @kopf.on.event(api.GROUP, api.VERSION, api.PLURAL, registry=registry)
    async def deployment_changed(event: kopf.RawEvent, **_: Any) -> None:
        passed("deployments", event)

    owned = {api.LABEL_NAME: kopf.PRESENT, api.LABEL_UID: kopf.PRESENT}

    @kopf.on.event("v1", "pods", labels=owned, registry=registry)
    async def pod_changed(event: kopf.RawEvent, **_: Any) -> None:
        passed("pods", event)

    @kopf.on.event("v1", "services", labels=owned, registry=registry)
    async def service_changed(event: kopf.RawEvent, **_: Any) -> None:
        passed("services", event)

    @kopf.on.event(
        "discovery.k8s.io", "v1", "endpointslices", labels=owned | {MANAGED_BY: api.GROUP}, registry=registry
    )
    async def slice_changed(event: kopf.RawEvent, **_: Any) -> None:
        passed("endpointslices", event)

    if namespaces:

        @kopf.on.event("v1", "namespaces", registry=registry)
        async def namespace_changed(event: kopf.RawEvent, **_: Any) -> None:
            passed("namespaces", event)

    def passed(kind: str, raw: kopf.RawEvent) -> None:
        event(kind, raw["type"], raw["object"])
