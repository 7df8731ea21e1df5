"""Launch slots: the SkyPilot server has few launch workers, so the operator hands them out in order of arrival."""

from collections import OrderedDict
from collections.abc import Callable

from deepseek_operator.facts.store import Key, Store

__all__ = ["LaunchSlots"]


class LaunchSlots:
    """Bounds the launches in flight at the SkyPilot server.

    Parameters
    ----------
    limit
        Most launches in flight at once.
    wake
        Called with the key of a deployment whose turn it is.
    """

    def __init__(self, store: Store, limit: int, wake: Callable[[Key], None]) -> None:
        self._store, self._limit, self._wake = store, limit, wake
        self._waiting: OrderedDict[str, Key] = OrderedDict()

    @property
    def limit(self) -> int:
        """Most launches in flight at once."""
        return self._limit

    @property
    def waiting(self) -> int:
        """Launches that wait for a slot."""
        return len(self._waiting)

    def take(self, key: Key, name: str) -> bool:
        """Return whether ``name`` may be launched now; if not, its deployment is woken when its turn has come."""
        running, _ = self._store.launches()
        free = self._limit - len(running)
        ahead = list(self._waiting)[: max(0, free)]
        if free > len(self._waiting) or name in ahead:
            self._waiting.pop(name, None)
            return True
        self._waiting.setdefault(name, key)
        return False

    def others_wait(self, key: Key) -> bool:
        """Return whether launches of other deployments wait for a slot or a worker."""
        if any(owner != key for owner in self._waiting.values()):
            return True
        _, without_worker = self._store.launches()
        return bool(without_worker and without_worker - self._store.names(key))

    def release(self) -> None:
        """Wake those whose turn has come. Called after each snapshot."""
        running, _ = self._store.launches()
        for name in list(self._waiting)[: max(0, self._limit - len(running))]:
            self._wake(self._waiting[name])

    def forget(self, key: Key) -> None:
        """Drop a deployment from the line."""
        for name in [name for name, owner in self._waiting.items() if owner == key]:
            del self._waiting[name]
