"""The promises P1 to P9 as checks of what is really there, made at every request, every write and every second."""

from tests.simulation.promises.promises import Promises
from tests.simulation.promises.scene import Violation

__all__ = ["Promises", "Violation"]
