"""How much the status says of each replica, so that a deployment with 200 of them is an object that etcd stores.

etcd takes 1.5 MiB by default, of the spec, the status and the record of who wrote which field together. A status that
is too large would not be written at all, and what the operator has done would be forgotten with it.
"""

from dataclasses import dataclass
from typing import Final

__all__ = ["Room", "room_for"]

_WORDS: Final = 120_000
"""Bytes of the messages of all replicas; those of their last failures may have as many again."""
_PLACES: Final = 400
"""Places of all replicas, those tried and those left out each."""


@dataclass(frozen=True)
class Room:
    """What there is room for of one replica.

    Attributes
    ----------
    words
        Bytes of a message.
    places
        Places in a list, the newest.
    """

    words: int
    places: int


def room_for(replicas: int) -> Room:
    """Return what there is room for of each of so many replicas: everything up to 40 of them."""
    each = max(replicas, 1)
    return Room(min(2048, _WORDS // each), max(1, min(10, _PLACES // each)))
