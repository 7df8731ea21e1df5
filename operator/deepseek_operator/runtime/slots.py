"""Launch slots: the SkyPilot server has few launch workers, so the operator hands them out.

They are handed out in order of arrival, and fairly: each deployment that waits gets a slot before any gets its second,
so that one with fifty replicas does not keep all the others waiting.
"""

from collections import OrderedDict
from collections.abc import Callable, Container, Iterator
from itertools import count, islice

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
        self._waiting: OrderedDict[Key, list[str]] = OrderedDict()
        self._granted: set[str] = set()

    @property
    def limit(self) -> int:
        """Most launches in flight at once."""
        return self._limit

    @property
    def waiting(self) -> int:
        """Launches that wait for a slot."""
        return sum(map(len, self._waiting.values()))

    def take(self, key: Key, name: str) -> bool:
        """Return whether ``name`` may be launched now; if not, its deployment is woken when its turn has come.

        Whoever gets a slot must call :meth:`used`, when the launch was sent or could not be.
        """
        free = self._free()
        if free and (name in self._first(free) or free > self.waiting):
            self._leave(key, name)
            self._granted.add(name)
            return True
        names = self._waiting.setdefault(key, [])
        if name not in names:
            names.append(name)
        return False

    def used(self, name: str) -> None:
        """Note that a granted slot shows as a launch in flight from now on, or is free again."""
        self._granted.discard(name)

    def others_wait(self, key: Key) -> bool:
        """Return whether launches of other deployments wait for a slot or a worker."""
        if any(owner != key for owner in self._waiting):
            return True
        _, without_worker = self._store.launches()
        return bool(without_worker and without_worker - self._store.names(key))

    def release(self) -> None:
        """Wake those whose turn has come. Called after each snapshot."""
        first = self._first(self._free())
        for key in [key for key, names in self._waiting.items() if not first.isdisjoint(names)]:
            self._wake(key)

    def keep(self, key: Key, names: Container[str]) -> None:
        """Drop the names of a deployment from the line that it does not want to launch any more."""
        left = [name for name in self._waiting.get(key, ()) if name in names]
        if left:
            self._waiting[key] = left
        else:
            self.forget(key)

    def forget(self, key: Key) -> None:
        """Drop a deployment from the line."""
        self._waiting.pop(key, None)

    def _free(self) -> int:
        running, _ = self._store.launches()
        return max(0, self._limit - len(running | self._granted))

    def _first(self, most: int) -> frozenset[str]:
        return frozenset(islice(self._line(), most))

    def _line(self) -> Iterator[str]:
        """Yield the names that wait: one of each deployment, then the second of each, and so on."""
        for place in count():
            waited = False
            for names in self._waiting.values():
                if len(names) > place:
                    waited = True
                    yield names[place]
            if not waited:
                return

    def _leave(self, key: Key, name: str) -> None:
        names = self._waiting.get(key, [])
        if name in names:
            names.remove(name)
            if names:
                self._waiting.move_to_end(key)  # it has had its turn
            else:
                del self._waiting[key]
