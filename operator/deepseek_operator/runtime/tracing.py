"""Traces: what a pass has done, and how a launch went. Off unless an endpoint is named.

:class:`Tracer` does nothing, and is what everybody has while traces are off. The one that exports, in
:mod:`deepseek_operator.runtime.otlp`, stands on an optional dependency, and is imported only when it is wanted.

Spans carry names, Reasons and kinds, never a message or a body: those come from users and providers, and traces leave
the cluster more easily than statuses do.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from typing import Final, NamedTuple

from deepseek_operator.api.status import PlaceTriedStatus
from deepseek_operator.facts.store import Key

__all__ = ["EndedLaunch", "Note", "Stage", "Tracer", "start"]

Note = Callable[[str, str | list[str]], None]
"""Sets an attribute of the span that is under way."""


def _note_nothing(_: str, __: str | list[str]) -> None:
    """Set nothing."""


_NO_SPAN: Final = nullcontext(_note_nothing)


class Stage(NamedTuple):
    """A part of a launch."""

    name: str
    began: datetime
    ended: datetime


class EndedLaunch(NamedTuple):
    """A launch that has ended.

    Attributes
    ----------
    began
        When it first waited for a launch slot, as far as that is known; else when SkyPilot was asked.
    ended
        When its engine first answered; None for a launch that has failed just now.
    result
        ``Ready``, or the Reason of the failure.
    tried
        Places where it found no machines.
    """

    key: Key
    replica: str
    infra: str
    began: datetime
    ended: datetime | None
    result: str
    stages: tuple[Stage, ...]
    tried: tuple[PlaceTriedStatus, ...]


class Tracer:
    """Makes spans. This one makes none."""

    def span_of_pass(self, key: Key) -> AbstractContextManager[Note]:
        """Return a span around a pass."""
        return _NO_SPAN

    def span_of_action(self, action: str, replica: str, reason: str) -> AbstractContextManager[Note]:
        """Return a span around an action of the pass that is under way.

        Parameters
        ----------
        action
            Name of its class.
        replica
            Empty for an action on the Service or on the object itself.
        """
        return _NO_SPAN

    def skypilot_asked(self, path: str, seconds: float | None, error: str) -> None:
        """Note a request to SkyPilot that has ended just now; see :func:`.metrics.observe_skypilot`."""

    def launch_ended(self, launch: EndedLaunch) -> None:
        """Note a whole launch."""

    async def close(self) -> None:
        """Send what has not been sent yet, if that is quickly done."""


def start(endpoint: str | None, instance: str) -> Tracer:
    """Return what makes spans: nothing without an endpoint.

    Parameters
    ----------
    endpoint
        Base URL of a receiver of OTLP over HTTP, such as ``http://collector:4318``.
    instance
        Name of this process.

    Raises
    ------
    ImportError
        The extra ``tracing`` is not installed.
    """
    if not endpoint:
        return Tracer()
    from deepseek_operator.runtime.otlp import OtlpTracer

    return OtlpTracer(endpoint, instance)
