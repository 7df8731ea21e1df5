"""Results of probes, what engines report of themselves, and which deployments they concern."""

from collections.abc import Iterable, Mapping
from typing import Generic, TypeVar

from deepseek_operator.facts.base import Address, Fact, Known, Probe
from deepseek_operator.facts.engine import EngineReading

__all__ = ["Probed"]

K = TypeVar("K")


class Probed(Generic[K]):
    """The last result of each address that is probed. ``K`` is the key of a deployment."""

    def __init__(self) -> None:
        self._probes: dict[Address, Probe] = {}
        self._readings: dict[Address, Fact[EngineReading]] = {}
        self._watchers: dict[Address, set[K]] = {}
        self._targets: dict[K, frozenset[Address]] = {}

    def watch(self, key: K, addresses: Iterable[Address]) -> bool:
        """Let these addresses concern ``key``, and no others; return whether one of the new ones was probed already."""
        after, before = frozenset(addresses), self._targets.get(key, frozenset())
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

    def put_reading(self, address: Address, fact: Fact[EngineReading] | None) -> tuple[K, ...]:
        """Store what an engine reports, None when it is no longer read; return the keys for which that is news."""
        if fact is None:
            self._readings.pop(address, None)
            return ()
        self._readings[address] = fact
        return tuple(self._watchers.get(address, ())) if isinstance(fact, Known) else ()

    def readings_of(self, key: K) -> Mapping[Address, Fact[EngineReading]]:
        """Return what the engines of a deployment report."""
        targets = self._targets.get(key, ())
        return {address: self._readings[address] for address in targets if address in self._readings}
