"""Results of probes, and which deployments they concern."""

from collections.abc import Iterable, Mapping
from typing import Generic, TypeVar

from deepseek_operator.facts.base import Address, Known, Probe

__all__ = ["Probed"]

K = TypeVar("K")


class Probed(Generic[K]):
    """The last result of each address that is probed. ``K`` is the key of a deployment."""

    def __init__(self) -> None:
        self._probes: dict[Address, Probe] = {}
        self._watchers: dict[Address, set[K]] = {}
        self._targets: dict[K, frozenset[Address]] = {}

    def watch(self, key: K, addresses: Iterable[Address]) -> bool:
        """Let these addresses concern ``key``, and no others; return whether one of the new ones was probed already."""
        after, before = frozenset(addresses), self._targets.get(key, frozenset())
        if after == before:
            return False
        for address in before - after:
            watchers = self._watchers.get(address, set())
            watchers.discard(key)
            if not watchers:
                self._watchers.pop(address, None)
        for address in after - before:
            self._watchers.setdefault(address, set()).add(key)
        if after:
            self._targets[key] = after
        else:
            self._targets.pop(key, None)
        return any(address in self._probes for address in after - before)

    def put(self, address: Address, fact: Known[Probe] | None) -> tuple[K, ...]:
        """Store a result, None when the address is no longer probed; return the keys that it concerns."""
        if fact is None:
            self._probes.pop(address, None)
            return ()
        self._probes[address] = fact.value
        return tuple(self._watchers.get(address, ()))

    def of(self, key: K) -> Mapping[Address, Probe]:
        """Return the results that concern a deployment."""
        return {address: self._probes[address] for address in self._targets.get(key, ()) if address in self._probes}
