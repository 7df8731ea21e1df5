"""All promises behind one door, through which the simulated world tells what happens."""

from collections.abc import Callable

from deepseek_operator.facts.base import Address
from tests.simulation.ground import Ground
from tests.simulation.kubernetes import SimulatedKubernetes
from tests.simulation.promises.requests import RequestPromises
from tests.simulation.promises.scene import Scene
from tests.simulation.promises.status import StatusPromises
from tests.simulation.promises.traffic import TrafficPromises
from tests.simulation.promises.wishes import Wishes
from tests.simulation.proxies import SimulatedProxies
from tests.simulation.skypilot import SimulatedSkyPilot

__all__ = ["Promises"]


class Promises(Scene):
    """Watches a simulated world.

    Attributes
    ----------
    wishes
        What people want.
    requests, traffic, status
        The promises by what they are checked at.
    """

    def __init__(
        self,
        kubernetes: SimulatedKubernetes,
        skypilot: SimulatedSkyPilot,
        ground: Ground,
        proxies: SimulatedProxies,
        now: Callable[[], float],
    ) -> None:
        super().__init__(kubernetes, skypilot, ground, proxies, now)
        self.wishes = Wishes(now)
        self.traffic = TrafficPromises(self, self.wishes)
        self.requests = RequestPromises(self, self.wishes, self.traffic)
        self.status = StatusPromises(self, self.wishes, self.traffic)

    def published(self, uid: str) -> set[Address]:
        """Return the addresses to which the Service of a deployment leads on its port ``http``."""
        return self.traffic.published(uid)

    def tick(self) -> None:
        """Check everything that must not last: a dead engine in a Service, a lie, a teardown that does not end."""
        if self.acting is None:
            self.traffic.forget_lies()
            return
        self.requests.tick(self.acting)
        self.traffic.tick(self.acting)
