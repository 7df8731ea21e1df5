"""The pods of proxies: what the controllers of Kubernetes and HAProxy make of a Deployment and of its members."""

import asyncio
import random
from collections.abc import Callable
from typing import Any, Final

from deepseek_operator.api import v1alpha1 as api
from deepseek_operator.facts.base import Address
from deepseek_operator.facts.kubernetes import PROXY_REVISION
from deepseek_operator.facts.names import members_service, proxy_name
from deepseek_operator.kube.read import read_endpoints
from tests.simulation.kubernetes import SimulatedKubernetes

__all__ = ["SimulatedProxies"]

Body = dict[str, Any]
_PREFIX: Final = "10.0.1."


class SimulatedProxies:
    """Makes pods of the Deployments of proxies, and answers as the HAProxy in them.

    Parameters
    ----------
    alive
        Whether an engine answers.
    changed
        Called with the IP of a proxy that has come or gone.
    """

    def __init__(
        self,
        kubernetes: SimulatedKubernetes,
        dice: random.Random,
        alive: Callable[[Address], bool],
        changed: Callable[[str], None],
    ) -> None:
        self._kubernetes, self._dice, self._alive, self._changed = kubernetes, dice, alive, changed
        self._running: dict[str, tuple[str, str]] = {}
        self._made = 0
        kubernetes.deployment_changed = self._settle

    def owns(self, address: Address) -> bool:
        """Return whether an address is one of a proxy."""
        return address.host.startswith(_PREFIX)

    def runs(self, address: Address) -> bool:
        """Return whether a proxy listens at an address."""
        return address.host in self._running

    def answers(self, address: Address) -> bool:
        """Return whether a proxy says that it has an engine."""
        if address.host not in self._running:
            return False
        _, uid = self._running[address.host]
        return any(self._alive(member) for member in self.members(uid))

    def fronts(self, uid: str) -> set[Address]:
        """Return the proxies to which the Service of a deployment leads."""
        return {
            address
            for name, piece in self._pieces(uid)
            if piece.name == proxy_name(name)
            for address in piece.addresses
        }

    def members(self, uid: str) -> set[Address]:
        """Return the engines that the proxies of a deployment find."""
        found: set[Address] = set()
        for name, piece in self._pieces(uid):
            services = {members_service(name, encrypted=encrypted) for encrypted in (False, True)}
            if piece.service in services & {body["metadata"]["name"] for body in self._kubernetes.list("services")}:
                found |= set(piece.addresses)
        return found

    def direct(self, uid: str) -> set[Address]:
        """Return the engines to which the Service of a deployment leads itself, on its port ``http``."""
        return {
            address
            for name, piece in self._pieces(uid)
            if piece.service == name and piece.name != proxy_name(name) and "http" in piece.port_names
            for address in piece.addresses
        }

    def _pieces(self, uid: str) -> list[tuple[str, Any]]:
        bodies = self._kubernetes.list("endpointslices", selector=f"{api.LABEL_UID}={uid}")
        found = ((body["metadata"]["labels"][api.LABEL_NAME], read_endpoints(body)) for body in bodies if _ours(body))
        return [(name, piece) for name, piece in found if piece is not None]

    def kill(self, namespace: str, name: str) -> None:
        """Let a pod of the proxy of a deployment be evicted."""
        pods = [body for body in self._kubernetes.list("pods", namespace) if _of(body) == proxy_name(name)]
        for body in pods[:1]:
            self._remove(body)
        self._settle(namespace, proxy_name(name))

    def _settle(self, namespace: str, name: str) -> None:
        """Make the pods that a Deployment wants, and remove those that it does not want any more."""
        body = self._kubernetes.get("deployments", namespace, name)
        pods = [pod for pod in self._kubernetes.list("pods", namespace) if _of(pod) == name]
        if body is None:
            for pod in pods:
                self._remove(pod)
            return
        template = body["spec"]["template"]["metadata"]["labels"]
        current = [pod for pod in pods if pod["metadata"]["labels"][PROXY_REVISION] == template[PROXY_REVISION]]
        for _ in range(body["spec"]["replicas"] - len(current)):
            self._make(namespace, name, template)

    def _make(self, namespace: str, name: str, labels: dict[str, str]) -> None:
        self._made += 1
        pod, host = f"{name}-{self._made:05x}", f"{_PREFIX}{self._made % 250 + 1}"
        head = {"name": pod, "namespace": namespace, "labels": labels, "annotations": {"deployment": name}}
        self._kubernetes.put("pods", namespace, pod, {"metadata": head, "status": {"phase": "Pending"}})
        seconds = self._dice.uniform(0.5, 6)
        asyncio.get_running_loop().call_later(seconds, self._run, namespace, name, pod, host)

    def _run(self, namespace: str, name: str, pod: str, host: str) -> None:
        body = self._kubernetes.get("pods", namespace, pod)
        if body is None:
            return
        self._running[host] = (pod, body["metadata"]["labels"][api.LABEL_UID])
        self._kubernetes.put("pods", namespace, pod, {**body, "status": {"phase": "Running", "podIP": host}})
        self._changed(host)
        revision = body["metadata"]["labels"][PROXY_REVISION]
        others = [one for one in self._kubernetes.list("pods", namespace) if _of(one) == name]
        for old in [one for one in others if one["metadata"]["labels"][PROXY_REVISION] != revision][:1]:
            self._remove(old)

    def _remove(self, body: Body) -> None:
        metadata = body["metadata"]
        self._kubernetes.remove("pods", metadata["namespace"], metadata["name"])
        host = (body.get("status") or {}).get("podIP")
        if host and self._running.pop(host, None):
            self._changed(host)


def _ours(body: Body) -> bool:
    return api.LABEL_NAME in body["metadata"]["labels"]


def _of(body: Body) -> str | None:
    return (body["metadata"].get("annotations") or {}).get("deployment")
