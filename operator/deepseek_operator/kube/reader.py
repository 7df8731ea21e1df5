"""Reads of the Kubernetes API server. No pass makes any of them: they fill the fact store, or answer a question."""

import base64
import json
import random
from collections.abc import AsyncIterator
from typing import Any, Final

from pydantic import SecretStr

from deepseek_operator.api.spec import SecretKeyRef
from deepseek_operator.api.v1alpha1 import LABEL_UID
from deepseek_operator.facts.names import api_key_secret, authority_secret_name
from deepseek_operator.kube.client import KubeClient
from deepseek_operator.kube.errors import KubeDeniedError, KubeNotFoundError, KubeRejectedError, error_of
from deepseek_operator.kube.resources import (
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    NAMESPACES,
    PODS,
    SECRETS,
    SELECTORS,
    SERVICES,
    Resource,
)

__all__ = ["KubeReader"]

WATCH_S: Final = 300
"""About how long the API server keeps up one watch; another one follows it."""
_PAGE: Final = 200
"""Objects of one answer. Each takes some 50 KB until it is stored: larger pages are most of what a start needs."""
_KINDS: Final[dict[str, Resource]] = {
    "deployments": DEPLOYMENTS,
    "pods": PODS,
    "services": SERVICES,
    "endpointslices": ENDPOINT_SLICES,
    "namespaces": NAMESPACES,
}


class KubeReader:
    """Reads of the Kubernetes cluster that holds the deployments."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client

    async def list_all(self, kind: str, namespaces: tuple[str, ...]) -> list[dict[str, Any]]:
        """Return all objects of a kind; see :meth:`pages`."""
        places = namespaces or (None,)
        return [body for place in places async for bodies, _ in self.pages(kind, place) for body in bodies]

    async def pages(self, kind: str, namespace: str | None) -> AsyncIterator[tuple[list[dict[str, Any]], str]]:
        """Yield all objects of a kind, some at a time, each time with the resource version of their list.

        Parameters
        ----------
        kind
            ``deployments`` or ``namespaces``, or ``pods``, ``services`` or ``endpointslices`` made for a deployment.
        namespace
            None for the whole cluster.
        """
        query: dict[str, str | int] = {"limit": _PAGE, **_selection(kind)}
        while True:
            page = await self._client.request("GET", _KINDS[kind].path(namespace), query=query)
            yield page.get("items") or [], str(page["metadata"].get("resourceVersion", ""))
            if not (more := page["metadata"].get("continue")):
                return
            query["continue"] = more

    async def watch(self, kind: str, namespace: str | None, version: str) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        """Yield type and object of each change after a resource version, for some minutes.

        The type is ``ADDED``, ``MODIFIED``, ``DELETED``, or ``BOOKMARK`` for an object that has only a new version.

        Raises
        ------
        KubeExpiredError
            The API server has forgotten what came after ``version``.
        """
        query: dict[str, str | int] = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": int(WATCH_S * random.uniform(0.9, 1.1)),
            **_selection(kind),
        }
        async for event in self._client.stream(_KINDS[kind].path(namespace), query):
            if event["type"] == "ERROR":
                raise error_of(int(event["object"].get("code") or 500), json.dumps(event["object"]))
            yield event["type"], event["object"]

    async def missing_secret(self, namespace: str, reference: SecretKeyRef) -> str | None:
        """Return a sentence if a Secret or its key cannot be used. Its values are not kept."""
        try:
            secret = await self._client.request("GET", SECRETS.path(namespace, reference.name))
        except KubeNotFoundError:
            return f"Secret {reference.name} does not exist in namespace {namespace}"
        except KubeDeniedError:
            return f"the operator may not read Secret {reference.name} in namespace {namespace}"
        data = secret.get("data") or {}
        if reference.key not in data:
            keys = ", ".join(sorted(data)) or "none"
            return f"Secret {reference.name} has no key {reference.key} (it has: {keys})"
        # An engine whose API key is empty asks for none, and the line break at the end of a file is no key.
        if base64.b64decode(data[reference.key]).strip():
            return None
        return f"Secret {reference.name} has nothing in its key {reference.key}"

    async def authority(self, namespace: str, name: str, uid: str) -> str:
        """Return the certificate of a deployment's own authority, which is no secret; empty if there is none."""
        return await self._own_value(namespace, SecretKeyRef(name=authority_secret_name(name), key="tls.crt"), uid)

    async def api_key(self, namespace: str, name: str, uid: str) -> SecretStr:
        """Return the key that the operator made for the engines of a deployment; empty if there is none."""
        return SecretStr(await self._own_value(namespace, api_key_secret(name), uid))

    async def _own_value(self, namespace: str, reference: SecretKeyRef, uid: str) -> str:
        """Return the value of a key of a Secret that was made for a deployment; empty if there is none."""
        try:
            secret = await self._client.request("GET", SECRETS.path(namespace, reference.name))
        except KubeNotFoundError:
            return ""
        ours = (secret["metadata"].get("labels") or {}).get(LABEL_UID) == uid
        return _text(secret, reference) if ours else ""

    async def secret_value(self, namespace: str, reference: SecretKeyRef) -> str:
        """Return the value of a key of a Secret, for a machine that no kubelet serves.

        Raises
        ------
        KubeNotFoundError
            The Secret, its key or what was in it is gone, although it was there when the launch was decided.
        KubeRejectedError
            The value is no text, so it cannot be part of an environment.
        """
        secret = await self._client.request("GET", SECRETS.path(namespace, reference.name))
        if not (secret.get("data") or {}).get(reference.key):
            raise KubeNotFoundError(f"Secret {reference.name} has no key {reference.key} any more, or nothing in it")
        return _text(secret, reference)


def _text(secret: dict[str, Any], reference: SecretKeyRef) -> str:
    """Return the value of a key of a Secret; empty if there is none.

    Raises
    ------
    KubeRejectedError
        It is not text. Python's own error would show all of it.
    """
    value = base64.b64decode((secret.get("data") or {}).get(reference.key, ""))
    try:
        return value.decode()
    except UnicodeDecodeError:
        words = f"Secret {reference.name}: the value of {reference.key} is not text in UTF-8"
        raise KubeRejectedError(words) from None


def _selection(kind: str) -> dict[str, str]:
    """Return the part of a query that leaves out objects of a kind that were not made for a deployment."""
    return {"labelSelector": SELECTORS[kind]} if kind in SELECTORS else {}
