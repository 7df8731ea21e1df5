"""What all replicas cost together, and what one of them may cost: replicas on demand and others have two prices."""

from dataclasses import dataclass
from decimal import Decimal

__all__ = ["Prices"]


@dataclass(frozen=True)
class Prices:
    """Prices of the replicas of one deployment, in US dollars an hour.

    Attributes
    ----------
    replicas
        How many are wanted.
    base
        How many of them are on demand whatever the others are.
    each
        Price of one replica as ``capacityType`` says; None if unknown.
    on_demand
        Price of one on demand; None if unknown.
    """

    replicas: int
    base: int
    each: Decimal | None
    on_demand: Decimal | None

    @property
    def total(self) -> Decimal | None:
        """Price of all replicas; None if one of them is unknown."""
        others = self.replicas - self.base
        if (self.base and self.on_demand is None) or (others and self.each is None):
            return None
        return self.base * (self.on_demand or Decimal(0)) + others * (self.each or Decimal(0))

    def share(self, cap: Decimal, *, on_demand: bool) -> Decimal:
        """Return what one replica may cost so that all together cost at most ``cap``.

        Parts are equal, unless some replicas are on demand and others are not: then they are as the prices are, so that
        what is left by cheap ones is there for dear ones.
        """
        price = self.on_demand if on_demand else self.each
        if not 0 < self.base < self.replicas or not price or not self.total:
            return cap / max(1, self.replicas)
        return cap * price / self.total
