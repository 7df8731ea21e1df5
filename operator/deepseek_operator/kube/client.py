"""Raw calls of the Kubernetes API server: paths and dicts in, dicts out, typed errors.

The official client brings configuration, authentication and TLS; its typed models are not used. What passes through the
operator stays a dict from the wire to the fact store, so that no object is validated twice.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import yaml

from deepseek_operator.facts.text import clean
from deepseek_operator.kube.errors import KubeUnavailableError, error_of
from deepseek_operator.kube.official import client as official
from deepseek_operator.kube.official import config

__all__ = ["APPLY", "MERGE", "KubeClient", "missing_configuration", "settle_proxy"]

APPLY: Final = "application/apply-patch+yaml"
MERGE: Final = "application/merge-patch+json"
TIMEOUT_S: Final = 10.0
CONNECTIONS: Final = 32
"""For requests; watches have connections of their own."""
SILENCE_S: Final = 120.0
"""A watch without a line for this long is dead: the API server sends a bookmark every minute."""
RENEW_S: Final = 10.0
"""Seconds for which credentials are not read again, whatever the API server says of them."""
_IN_CLUSTER: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
_UNREADABLE: Final = (config.ConfigException, yaml.YAMLError, OSError, TypeError, KeyError, ValueError)
"""What the library raises for a kubeconfig that is no YAML, empty, or names what is not in it."""


class KubeClient:
    """Calls under the identity of the service account, or of the kubeconfig outside a cluster."""

    def __init__(self) -> None:
        self._clients: dict[int, official.ApiClient] = {}
        self._read_at: dict[official.ApiClient, float] = {}
        """When the credentials of each were read, on the loop's clock."""
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
        limit = aiohttp.ClientTimeout(total=TIMEOUT_S)
        response = await self._send(method, path, query or {}, body=body, content_type=content_type, limit=limit)
        try:
            text = await response.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise _unavailable(error) from error
        if response.status >= 400:
            raise error_of(response.status, text)
        try:
            answer: dict[str, Any] = json.loads(text)
        except ValueError as error:
            raise KubeUnavailableError(f"{path} answered with something that is not JSON") from error
        return answer

    async def stream(self, path: str, query: Mapping[str, str | int]) -> AsyncIterator[dict[str, Any]]:
        """Yield the JSON documents of an answer that goes on, one a line, until the server ends it.

        Raises
        ------
        KubeError
            As for :meth:`request`, at the start or in the middle.
        """
        limit = aiohttp.ClientTimeout(total=None, sock_connect=TIMEOUT_S, sock_read=SILENCE_S)
        # Without a limit of connections: each watch keeps one, and no request may wait for a watch to end.
        response = await self._send("GET", path, query, limit=limit, connections=0)
        try:
            if response.status >= 400:
                raise error_of(response.status, await response.read())
            rest = b""
            # Not line by line: aiohttp refuses lines of over 128 KiB, and takes a turn of the event loop for each.
            async for chunk in response.content.iter_any():
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    yield json.loads(line)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise _unavailable(error) from error
        finally:
            response.close()

    async def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str | int],
        *,
        limit: aiohttp.ClientTimeout,
        body: Mapping[str, Any] | None = None,
        content_type: str = "application/json",
        connections: int = CONNECTIONS,
    ) -> aiohttp.ClientResponse:
        client = await self._open(connections)
        began = asyncio.get_running_loop().time()
        response = await self._send_by(client, method, path, query, limit, body, content_type)
        if response.status == 401 and await self._renewed(client, began):
            response.close()
            response = await self._send_by(client, method, path, query, limit, body, content_type)
        return response

    @staticmethod
    async def _send_by(
        client: official.ApiClient,
        method: str,
        path: str,
        query: Mapping[str, str | int],
        limit: aiohttp.ClientTimeout,
        body: Mapping[str, Any] | None,
        content_type: str,
    ) -> aiohttp.ClientResponse:
        headers = {"Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = content_type
        try:
            # Without the body, which is JSON already: the library would copy all of it.
            method, url, headers, *_ = await client.param_serialize(
                method=method,
                resource_path=path,
                query_params=list(query.items()),
                header_params=headers,
                auth_settings=["BearerToken"],
            )
            answer = await client.call_api(method, url, headers, body, _request_timeout=limit)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise _unavailable(error) from error
        except config.ConfigException as error:  # the library reads the token's file again now and then
            raise KubeUnavailableError(f"the credentials cannot be read: {clean(str(error), 300)}") from error
        response: aiohttp.ClientResponse = answer.response
        return response

    async def _renewed(self, client: official.ApiClient, began: float) -> bool:
        """Read the credentials again, which the API server has refused; return whether they may be others now.

        Tokens that a kubeconfig has from a program or a file expire, and the library reads them once.
        """
        async with self._opening:
            now, read_at = asyncio.get_running_loop().time(), self._read_at[client]
            if read_at > began:
                return True  # somebody else has, since
            if now - read_at < RENEW_S:
                return False
            await _configure(client.configuration)
            self._read_at[client] = asyncio.get_running_loop().time()
            return True

    async def close(self) -> None:
        """Close the connections."""
        for client in self._clients.values():
            await client.close()

    async def _open(self, connections: int) -> official.ApiClient:
        """Return the library's client with so many connections, which must be made inside the event loop."""
        async with self._opening:
            if connections not in self._clients:
                configuration = official.Configuration()
                await _configure(configuration)
                configuration.connection_pool_maxsize = connections
                settle_proxy(configuration)
                client = self._clients[connections] = official.ApiClient(configuration)
                self._read_at[client] = asyncio.get_running_loop().time()
            return self._clients[connections]


async def _configure(configuration: official.Configuration) -> None:
    try:
        if _IN_CLUSTER.exists():
            config.load_incluster_config(client_configuration=configuration)
        else:
            await config.load_kube_config(config_file=_kubeconfig(), client_configuration=configuration)
    except _UNREADABLE as error:
        raise KubeUnavailableError(f"the kubeconfig cannot be used: {clean(str(error), 300)}") from error


def _unavailable(error: Exception) -> KubeUnavailableError:
    words = clean(str(error) or type(error).__name__, 300)
    return KubeUnavailableError(f"the Kubernetes API server does not answer: {words}")


def missing_configuration() -> str:
    """Return why neither a service account nor a kubeconfig can be used; empty if one can, as far as it is read."""
    places = [Path(place).expanduser() for place in _kubeconfig().split(os.pathsep)]
    if _IN_CLUSTER.exists():
        return ""
    if any(place.is_file() for place in places):
        try:
            config.list_kube_config_contexts(_kubeconfig())
        except _UNREADABLE as error:
            return f"cannot be used: {clean(str(error), 300)}"
        return ""
    return f"not in a pod, and no kubeconfig at {' or '.join(map(str, places))}; KUBECONFIG names another one"


def _kubeconfig() -> str:
    """Return the path of the kubeconfig, or several as one text."""
    return os.environ.get("KUBECONFIG") or "~/.kube/config"


def settle_proxy(configuration: official.Configuration) -> None:
    """Read the environment's proxy once. aiohttp would look for proxies and ~/.netrc in a thread, for each request."""
    server = urlsplit(configuration.host)
    if configuration.proxy is None and not proxy_bypass(server.hostname or ""):
        configuration.proxy = getproxies().get(server.scheme)
    configuration.client_session_kwargs = {"trust_env": False}
