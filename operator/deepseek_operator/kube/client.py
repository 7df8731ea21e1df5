"""Raw calls of the Kubernetes API server: paths and dicts in, dicts out, typed errors.

The official client brings configuration, authentication and TLS; its typed models are not used. What passes through the
operator stays a dict from the wire to the fact store, so that no object is validated twice.
"""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from kubernetes.aio import client as official
from kubernetes.aio import config

from deepseek_operator.facts.text import clean
from deepseek_operator.kube.errors import KubeUnavailableError, error_of

__all__ = ["APPLY", "MERGE", "KubeClient", "settle_proxy"]

APPLY: Final = "application/apply-patch+yaml"
MERGE: Final = "application/merge-patch+json"
TIMEOUT_S: Final = 10.0
_IN_CLUSTER: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")


class KubeClient:
    """Calls under the identity of the service account, or of the kubeconfig outside a cluster."""

    def __init__(self) -> None:
        self._client: official.ApiClient | None = None
        self._opening = asyncio.Lock()

    async def request(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, str | int] | None = None,
        content_type: str = "application/json",
    ) -> dict[str, Any]:
        """Return the decoded answer.

        Raises
        ------
        KubeError
            Of a class that says whether trying again may help.
        """
        client = await self._open()
        headers = {"Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = content_type
        try:
            method, url, headers, sent, _ = await client.param_serialize(
                method=method,
                resource_path=path,
                query_params=list((query or {}).items()),
                header_params=headers,
                body=body,
                auth_settings=["BearerToken"],
            )
            response = await client.call_api(method, url, headers, sent, _request_timeout=TIMEOUT_S)
            text = await response.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            words = clean(str(error) or type(error).__name__, 300)
            raise KubeUnavailableError(f"the Kubernetes API server does not answer: {words}") from error
        if response.status >= 400:
            raise error_of(response.status, text)
        try:
            answer: dict[str, Any] = json.loads(text)
        except ValueError as error:
            raise KubeUnavailableError(f"{path} answered with something that is not JSON") from error
        return answer

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.close()

    async def _open(self) -> official.ApiClient:
        """Return the library's client, which must be made inside the event loop."""
        async with self._opening:
            if self._client is None:
                configuration = official.Configuration()
                if _IN_CLUSTER.exists():
                    config.load_incluster_config(client_configuration=configuration)
                else:
                    await config.load_kube_config(client_configuration=configuration)
                configuration.connection_pool_maxsize = 32
                settle_proxy(configuration)
                self._client = official.ApiClient(configuration)
            return self._client


def settle_proxy(configuration: official.Configuration) -> None:
    """Read the environment's proxy once. aiohttp would look for proxies and ~/.netrc in a thread, for each request."""
    server = urlsplit(configuration.host)
    if configuration.proxy is None and not proxy_bypass(server.hostname or ""):
        configuration.proxy = getproxies().get(server.scheme)
    configuration.client_session_kwargs = {"trust_env": False}
