"""What a SkyPilot cluster consists of, played: real Pod and Service objects, and engines that answer /health and greet.

The pods have a scheduler that nobody runs, so no kubelet ever sees them; their status is patched as a kubelet would.
"""

import asyncio
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any, Final

from aiohttp import ClientTimeout, web
from kubernetes.aio import client as official
from kubernetes.aio import config

from deepseek_operator.kube.client import settle_proxy

NAME_LABEL = "skypilot-cluster-name"
NOBODY = "dsd-fake-scheduler"
_LIMIT: Final = ClientTimeout(total=30)


class Engines:
    """HTTP servers that answer as an engine does, each on an address of its own."""

    def __init__(self) -> None:
        self._runners: dict[tuple[str, int], web.AppRunner] = {}

    async def start(self, host: str, port: int) -> None:
        """Let an engine answer; does nothing if it does."""
        if (host, port) in self._runners:
            return
        app = web.Application()
        app.router.add_get("/health", self._health)
        app.router.add_post("/v1/chat/completions", self._greeting)
        runner = self._runners[host, port] = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, host, port, reuse_address=True).start()

    async def stop(self, host: str, port: int) -> None:
        """Let connections to an engine be refused."""
        if (runner := self._runners.pop((host, port), None)) is not None:
            await runner.cleanup()

    async def stop_all(self) -> None:
        """Stop every engine."""
        for host, port in list(self._runners):
            await self.stop(host, port)

    @staticmethod
    async def _health(_: web.Request) -> web.Response:
        return web.Response()

    @staticmethod
    async def _greeting(request: web.Request) -> web.Response:
        asked = await request.json()
        message = {"role": "assistant", "content": f"Hello from {asked['model']}"}
        return web.json_response({"choices": [{"message": message}]})


@dataclass(frozen=True)
class Wanted:
    """What pods are made from, taken out of a launch request."""

    cluster: str
    on_cloud: str
    user: str
    namespace: str
    nodes: int
    image: str
    kubernetes: dict[str, Any] = field(default_factory=dict)
    """``config.kubernetes`` of the task."""

    @property
    def pod_names(self) -> tuple[str, ...]:
        """Names of the pods, the head first."""
        return (f"{self.on_cloud}-head", *(f"{self.on_cloud}-worker{i}" for i in range(1, self.nodes)))


class Pods:
    """Pods of fake clusters in a real API server.

    Parameters
    ----------
    kubeconfig
        Of an administrator: the fake plays SkyPilot and the kubelet.
    addresses
        Addresses of this machine that pods get in turn. No loopback ones: EndpointSlices refuse them.
    """

    def __init__(self, kubeconfig: Path, addresses: IPv4Network) -> None:
        self._kubeconfig = kubeconfig
        self._free: Iterator[str] = itertools.cycle(str(address) for address in addresses.hosts())
        self._client: official.ApiClient | None = None
        self._opening = asyncio.Lock()
        self._fresh: set[tuple[str, str]] = set()
        """Namespaces and names of pods that were created here and have not run yet."""

    async def create(self, wanted: Wanted) -> None:
        """Create Services and pods as SkyPilot does; what exists is kept, as SkyPilot adopts pods that it finds."""
        for name in (f"{wanted.on_cloud}-head-ssh", f"{wanted.on_cloud}-head"):
            await self._call("POST", _path("services", wanted.namespace), _service(wanted, name), but=409)
        for name in wanted.pod_names:
            if await self._call("POST", _path("pods", wanted.namespace), _pod(wanted, name), but=409):
                self._fresh.add((wanted.namespace, name))

    async def find_no_node(self, wanted: Wanted) -> None:
        """Say of the pods what a scheduler says that has no room for them."""
        message = "0/1 nodes are available: 1 Insufficient memory."
        condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
        for name in wanted.pod_names:
            await self._say(wanted.namespace, name, {"phase": "Pending", "conditions": [condition]})

    async def run(self, wanted: Wanted) -> str:
        """Let the pods run; return the address of the head."""
        addresses = [await self._run(wanted.namespace, name) for name in wanted.pod_names]
        return addresses[0]

    async def delete(self, namespace: str, on_cloud: str) -> None:
        """Delete all that carries the cluster's label, which is more than what was created here: SkyPilot does, too."""
        for kind in ("pods", "services"):
            found = await self._call("GET", f"{_path(kind, namespace)}?labelSelector={NAME_LABEL}={on_cloud}")
            for body in found["items"]:
                path = _path(kind, namespace, body["metadata"]["name"])
                await self._call("DELETE", path, {"gracePeriodSeconds": 0}, but=404)

    async def _run(self, namespace: str, name: str) -> str:
        if (namespace, name) in self._fresh:
            self._fresh.discard((namespace, name))
        else:
            status = (await self._call("GET", _path("pods", namespace, name)))["status"]
            if status.get("phase") == "Running" and status.get("podIP"):
                return str(status["podIP"])
        address = next(self._free)
        ready = [
            {"type": kind, "status": "True"} for kind in ("PodScheduled", "Initialized", "ContainersReady", "Ready")
        ]
        status = {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}], "conditions": ready}
        await self._say(namespace, name, status)
        return address

    async def _say(self, namespace: str, name: str, status: dict[str, Any]) -> None:
        path = f"{_path('pods', namespace, name)}/status"
        await self._call("PATCH", path, {"status": status}, kind="application/strategic-merge-patch+json")

    async def _call(
        self, method: str, path: str, body: Any = None, *, kind: str = "application/json", but: int = 0
    ) -> dict[str, Any]:
        """Return the decoded answer, or nothing if its status is ``but``."""
        client = await self._open()
        url, headers = f"{client.configuration.host}{path}", {"Content-Type": kind}
        answer = await client.call_api(method, url, headers, body, _request_timeout=_LIMIT)
        text = await answer.response.read()
        if answer.response.status == but:
            return {}
        assert answer.response.status < 400, f"{method} {path}: {text.decode()}"
        decoded: dict[str, Any] = json.loads(text)
        return decoded

    async def _open(self) -> official.ApiClient:
        """Return the client, made on first use: it belongs to the event loop in which that is."""
        async with self._opening:
            if self._client is None:
                configuration = official.Configuration()
                await config.load_kube_config(str(self._kubeconfig), client_configuration=configuration)
                settle_proxy(configuration)
                self._client = official.ApiClient(configuration)
        return self._client


def _path(kind: str, namespace: str, name: str = "") -> str:
    return f"/api/v1/namespaces/{namespace}/{kind}{name and '/' + name}"


def _metadata(wanted: Wanted, name: str, labels: dict[str, str]) -> dict[str, Any]:
    custom = wanted.kubernetes.get("custom_metadata") or {}
    common = {
        "parent": "skypilot",
        "skypilot-cluster": wanted.on_cloud,
        NAME_LABEL: wanted.on_cloud,
        "skypilot-user": wanted.user,
    }
    return {
        "name": name,
        "namespace": wanted.namespace,
        "labels": {**common, **labels, **(custom.get("labels") or {})},
        "annotations": {NAME_LABEL: wanted.cluster, **(custom.get("annotations") or {})},
    }


def _service(wanted: Wanted, name: str) -> dict[str, Any]:
    # Without SkyPilot's selector: the endpoints controllers stumble, again and again, over running pods without a node.
    spec: dict[str, Any] = {"ports": [{"port": 22}]}
    if not name.endswith("-ssh"):
        spec["clusterIP"] = "None"
    return {"apiVersion": "v1", "kind": "Service", "metadata": _metadata(wanted, name, {}), "spec": spec}


def _pod(wanted: Wanted, name: str) -> dict[str, Any]:
    head = name.endswith("-head")
    labels = {
        "component": name,
        "ray-cluster-name": wanted.on_cloud,
        "ray-node-type": "head" if head else "worker",
        "skypilot-head-node": "1" if head else "0",
    }
    metadata = _metadata(wanted, name, labels)
    extra = (wanted.kubernetes.get("pod_config") or {}).get("metadata") or {}
    metadata["labels"] |= extra.get("labels") or {}
    metadata["annotations"] |= extra.get("annotations") or {}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {
            "schedulerName": NOBODY,
            "restartPolicy": "Never",
            "serviceAccountName": wanted.kubernetes.get("remote_identity") or "skypilot-service-account",
            "automountServiceAccountToken": False,
            "containers": [{"name": "ray-node", "image": wanted.image or "none", "command": ["/bin/bash", "-c", "--"]}],
        },
    }
