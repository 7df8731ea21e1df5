"""What is really there, whatever anybody knows of it: nodes, and the engines on them."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from deepseek_operator.facts.base import Address, Encryption
from tests.simulation.trust import Identity, believed

__all__ = ["STRANGER", "Engine", "Ground", "Nodes"]

STRANGER: Final = Identity("another-key", b"another authority", ("somebody.example",))
"""What the engine of somebody else shows."""

TOLD_S = 3.0
"""Seconds within which an operator has drawn its conclusions from what SkyPilot says."""


@dataclass
class Engine:
    """A process that serves a model.

    Attributes
    ----------
    identity
        What it shows over TLS; None: it speaks plain HTTP, and asks for no key that matters.
    loaded
        It has loaded its model.
    since
        When it began to answer, in seconds after the start.
    hung
        It has stopped answering although it runs.
    """

    address: Address
    identity: Identity | None = None
    loaded: bool = False
    since: float = 0.0
    hung: bool = False

    @property
    def answers(self) -> bool:
        """Whether a request would be answered."""
        return self.loaded and not self.hung


@dataclass
class Nodes:
    """The nodes of one SkyPilot cluster.

    Attributes
    ----------
    count
        How many there were.
    members
        Names of those that are left: ``head``, ``worker1`` ...
    told_at
        When an operator was first told that some are missing.
    """

    cluster: str
    uid: str
    namespace: str
    host: str
    on_kubernetes: bool
    engine: Engine | None = None
    record_lost: bool = False
    count: int = 1
    members: set[str] = field(default_factory=lambda: {"head"})
    told_at: float | None = None

    @property
    def whole(self) -> bool:
        """Whether all of them are there; what the head says does not depend on it."""
        return len(self.members) == self.count


@dataclass
class Ground:
    """All nodes.

    Addresses of pods that went are given out again at once, which is the worst that a cluster can do; those of rented
    machines only where a schedule says so.

    Attributes
    ----------
    strangers
        What somebody else's engine shows at an address that was ours; None: it speaks plain HTTP.
    """

    nodes: dict[str, Nodes] = field(default_factory=dict)
    died: dict[Address, float] = field(default_factory=dict)
    """When an address stopped answering."""
    changed: Callable[[str], None] = lambda host: None
    strangers: dict[Address, Identity | None] = field(default_factory=dict)
    _free: list[str] = field(default_factory=lambda: [f"10.0.0.{last}" for last in range(60, 1, -1)])
    _free_on_clouds: list[str] = field(default_factory=list)
    _rented: int = 0

    def take_host(self, *, on_kubernetes: bool) -> str:
        """Return a free address."""
        if on_kubernetes:
            return self._free.pop()
        if self._free_on_clouds:
            return self._free_on_clouds.pop()
        self._rented += 1
        return f"54.0.0.{self._rented}"

    def free(self, host: str) -> None:
        """Let the next machine have an address that one of ours had."""
        self._free_on_clouds.append(host)

    def move_in(self, address: Address, identity: Identity | None) -> None:
        """Let somebody else's engine answer at an address."""
        self.strangers[address] = identity
        self.changed(address.host)

    def add(self, nodes: Nodes) -> None:
        """Let nodes exist."""
        self.nodes[nodes.cluster] = nodes

    def remove(self, cluster: str) -> None:
        """Let nodes be gone, with what runs on them."""
        nodes = self.nodes.pop(cluster, None)
        if nodes is not None:
            self.note_death(nodes)
            if nodes.on_kubernetes:
                self._free.append(nodes.host)
            self.changed(nodes.host)

    def set_engine(self, cluster: str, engine: Engine | None) -> None:
        """Replace the engine on some nodes."""
        nodes = self.nodes.get(cluster)
        if nodes is not None:
            self.note_death(nodes)
            nodes.engine = engine
            self.changed(nodes.host)

    def note_death(self, nodes: Nodes) -> None:
        """Note that the engine on some nodes stops answering now, if it answers."""
        if nodes.engine is not None and nodes.engine.answers:
            self.died[nodes.engine.address] = asyncio.get_running_loop().time()

    def at(self, address: Address) -> Nodes | None:
        """Return the nodes whose engine listens at an address."""
        for nodes in self.nodes.values():
            if nodes.engine is not None and nodes.engine.address == address:
                return nodes
        return None

    def answers(self, address: Address) -> bool:
        """Return whether a request to an address is answered."""
        nodes = self.at(address)
        return nodes is not None and nodes.engine is not None and nodes.engine.answers

    def answers_as(self, address: Address, encryption: Encryption | None) -> bool:
        """Return whether a probe of an address finds the engine for which it is meant."""
        if address in self.strangers:
            identity = self.strangers[address]
        else:
            nodes = self.at(address)
            if nodes is None or nodes.engine is None or not nodes.engine.answers:
                return False
            identity = nodes.engine.identity
        if identity is None or encryption is None:
            return identity is None and encryption is None
        return identity.signer in believed(encryption.authority) and encryption.server_name in identity.names

    def serves(self, address: Address) -> bool:
        """Return whether a request to an address is answered, as far as anybody can know: that needs every node."""
        nodes = self.at(address)
        if nodes is None or nodes.engine is None or not nodes.engine.answers:
            return False
        now = asyncio.get_running_loop().time()
        return nodes.whole or nodes.told_at is None or now - nodes.told_at < TOLD_S

    def whole(self, address: Address) -> bool:
        """Return whether all nodes behind an address are there."""
        nodes = self.at(address)
        return nodes is not None and nodes.whole

    def identity_at(self, address: Address) -> Identity | None:
        """Return what the engine at an address shows over TLS."""
        nodes = self.at(address)
        return nodes.engine.identity if nodes is not None and nodes.engine is not None else None

    def of(self, uid: str) -> list[Nodes]:
        """Return the nodes of one deployment."""
        return [nodes for nodes in self.nodes.values() if nodes.uid == uid]
