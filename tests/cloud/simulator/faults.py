"""What goes wrong in the simulated cloud, and how long things take there. Set by tests, over the control port."""

import fnmatch
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Fault", "Faults", "Knobs"]


@dataclass
class Fault:
    """One thing that goes wrong.

    Attributes
    ----------
    action
        Name of the API's action as a shell pattern, such as ``RunInstances``.
    match
        What the call must look like: ``region``, ``zone``, ``type`` (shell patterns), ``spot``, ``service``.
    code
        Error code that the call is answered with.
    http
        Status of that answer. Without one the error is raised where the provider's own would be.
    boot
        What becomes of the machine instead: ``deaf`` (never answers SSH), ``stuck`` (stays pending), ``bare`` (EC2 says
        that it runs, and nothing is there).
    node
        With ``boot``: the only machine of the call that it concerns, from 0.
    times
        How often; None is for ever.
    """

    action: str = "RunInstances"
    match: dict[str, Any] = field(default_factory=dict)
    code: str = ""
    message: str = ""
    http: int = 0
    boot: str = ""
    node: int | None = None
    times: int | None = None

    def concerns(self, action: str, facts: dict[str, Any]) -> bool:
        """Say whether a call meets this fault."""
        if self.times == 0 or not fnmatch.fnmatch(action, self.action):
            return False
        return all(_same(want, facts.get(key)) for key, want in self.match.items())


@dataclass
class Knobs:
    """How the cloud is when nothing goes wrong.

    Attributes
    ----------
    boot, stop
        Seconds from a call to ``running`` and to ``terminated``.
    closed
        Ports that somebody keeps closed whatever SkyPilot asks for, as a company's own security group does.
    """

    boot: float = 1.0
    stop: float = 1.0
    closed: tuple[int, ...] = ()


class Faults:
    """The faults that are set at the moment."""

    def __init__(self) -> None:
        self._set: list[Fault] = []

    def replace(self, faults: list[dict[str, Any]]) -> None:
        """Set these instead of all others."""
        self._set = [Fault(**fault) for fault in faults]

    def take(self, action: str, *, answered: bool, **facts: Any) -> Fault | None:
        """Return the first fault that a call meets, and count it.

        Parameters
        ----------
        answered
            Whether the fault replaces the HTTP answer, instead of being raised inside the provider.
        """
        for fault in self._set:
            if bool(fault.http) == answered and fault.concerns(action, facts):
                if fault.times is not None:
                    fault.times -= 1
                return fault
        return None


def _same(want: Any, have: Any) -> bool:
    return fnmatch.fnmatch(str(have), want) if isinstance(want, str) else bool(want == have)
