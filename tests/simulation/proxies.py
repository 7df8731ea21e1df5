"""The pods of proxies: what the controllers of Kubernetes and HAProxy make of a Deployment and of its members."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from deepseek_operator.api import v1alpha1 as api
from deepseek_operator.facts.base import Address
from deepseek_operator.facts.kubernetes import PROXY_REVISION
from deepseek_operator.facts.names import members_service, proxy_name
from deepseek_operator.kube.read import read_endpoints
from tests.simulation.ground import Ground
from tests.simulation.kubernetes import SimulatedKubernetes
from tests.simulation.trust import Trust

__all__ = ["Leads", "SimulatedProxies"]

Body = dict[str, Any]
_PREFIX: Final = "10.0.1."
KUBELET_S: Final = 5.0
"""Seconds after which a pod whose Secret is missing is tried again."""


@dataclass(frozen=True)
class _Proxy:
    """A pod that runs: for which deployment, and what it read when it started."""

    uid: str
    trust: Trust


@dataclass(frozen=True)
class Leads:
    """Where the slices of a deployment lead.

    Attributes
    ----------
    fronts
        Proxies to which the Service leads.
    members
        Engines that the proxies find.
    direct
        Engines to which the Service leads itself, on its port ``http``.
    """

    fronts: frozenset[Address]
    members: frozenset[Address]
    direct: frozenset[Address]


class SimulatedProxies:
    """Makes pods of the Deployments of proxies, and answers as the HAProxy in them.

    Parameters
    ----------
    ground
        What is really there.
    changed
        Called with the IP of a proxy that has come or gone.
    """

    def __init__(
        self,
        kubernetes: SimulatedKubernetes,
        dice: random.Random,
        ground: Ground,
        changed: Callable[[str], None],
    ) -> None:
        self._kubernetes, self._dice, self._ground, self._changed = kubernetes, dice, ground, changed
        self._running: dict[str, _Proxy] = {}
        self._made = 0
        self._seen: tuple[int | None, ...] = ()
        self._leads: dict[str, Leads] = {}
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
        proxy = self._running[address.host]
        return any(self._ground.answers(one) for one in self.leads(proxy.uid).members if self._believes(proxy, one))

    def refused(self, uid: str) -> set[tuple[Address, Address]]:
        """Return proxies and engines that answer and ask for another key than the proxy adds."""
        found: set[tuple[Address, Address]] = set()
        leads = self.leads(uid)
        for front in filter(self.runs, leads.fronts):
            proxy = self._running[front.host]
            for member in leads.members if proxy.trust.key else ():
                identity = self._ground.identity_at(member)
                if identity is not None and proxy.trust.believes(identity) and identity.key != proxy.trust.key:
                    found.add((front, member))
        return found

    def _believes(self, proxy: "_Proxy", member: Address) -> bool:
        nodes = self._ground.at(member)
        return proxy.trust.believes(self._ground.identity_at(member)) and nodes is not None and nodes.uid == proxy.uid

    def leads(self, uid: str) -> Leads:
        """Return where the slices of a deployment lead."""
        seen = tuple(map(self._kubernetes.changed_at.get, ("services", "endpointslices")))
        if self._seen != seen:
            self._seen, self._leads = seen, {}
        if uid not in self._leads:
            self._leads[uid] = self._find_leads(uid)
        return self._leads[uid]

    def _find_leads(self, uid: str) -> Leads:
        services = {body["metadata"]["name"] for body in self._kubernetes.list("services")}
        fronts, members, direct = set[Address](), set[Address](), set[Address]()
        for body in self._kubernetes.list("endpointslices", selector=f"{api.LABEL_UID}={uid}"):
            name, piece = body["metadata"]["labels"].get(api.LABEL_NAME), read_endpoints(body)
            if name is None or piece is None:
                continue
            if piece.name == proxy_name(name):
                fronts |= set(piece.addresses)
            elif piece.service == name and "http" in piece.port_names:
                direct |= set(piece.addresses)
            if piece.service in services & {members_service(name, encrypted=encrypted) for encrypted in (False, True)}:
                members |= set(piece.addresses)
        return Leads(frozenset(fronts), frozenset(members), frozenset(direct))

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
        deployment = self._kubernetes.get("deployments", namespace, name)
        if body is None or deployment is None:
            return
        trust = Trust.of(self._kubernetes, namespace, deployment)
        if trust is None:  # the kubelet tries again and again
            asyncio.get_running_loop().call_later(KUBELET_S, self._run, namespace, name, pod, host)
            return
        self._running[host] = _Proxy(body["metadata"]["labels"][api.LABEL_UID], trust)
        self._kubernetes.put("pods", namespace, pod, {**body, "status": {"phase": "Running", "podIP": host}})
        self._changed(host)
        revision = deployment["spec"]["template"]["metadata"]["labels"][PROXY_REVISION]
        others = [one for one in self._kubernetes.list("pods", namespace) if _of(one) == name]
        for old in [one for one in others if one["metadata"]["labels"][PROXY_REVISION] != revision][:1]:
            self._remove(old)

    def _remove(self, body: Body) -> None:
        metadata = body["metadata"]
        self._kubernetes.remove("pods", metadata["namespace"], metadata["name"])
        host = (body.get("status") or {}).get("podIP")
        if host and self._running.pop(host, None):
            self._changed(host)


def _of(body: Body) -> str | None:
    return (body["metadata"].get("annotations") or {}).get("deployment")
