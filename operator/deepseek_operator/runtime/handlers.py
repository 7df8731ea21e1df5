"""kopf handlers: they wake a key and do nothing else.

``on.event`` only: an operator with no other handler writes nothing to the objects, and its errors are not its retries.
"""

from collections.abc import Callable
from typing import Any

import kopf

from deepseek_operator.api import v1alpha1 as api
from deepseek_operator.runtime.queue import Key

__all__ = ["register"]


def register(
    registry: kopf.OperatorRegistry, wake: Callable[[Key], None], note_uid: Callable[[str, Key], None]
) -> None:
    """Wake the deployment that an event concerns.

    Parameters
    ----------
    note_uid
        Told the UID of every deployment seen, so that names of SkyPilot clusters lead back to it.
    """

    @kopf.on.event(api.GROUP, api.VERSION, api.PLURAL, registry=registry)
    async def deployment_changed(namespace: str | None, name: str, uid: str, **_: Any) -> None:
        key = (str(namespace), name)
        note_uid(uid, key)
        wake(key)

    owned = {api.LABEL_NAME: kopf.PRESENT, api.LABEL_UID: kopf.PRESENT}

    async def owned_changed(namespace: str | None, labels: kopf.Labels, **_: Any) -> None:
        wake((str(namespace), labels[api.LABEL_NAME]))

    kopf.on.event("v1", "pods", labels=owned, registry=registry)(owned_changed)
    kopf.on.event("v1", "services", labels=owned, registry=registry)(owned_changed)
    kopf.on.event("discovery.k8s.io", "v1", "endpointslices", labels=owned, registry=registry)(owned_changed)
