"""A fact is known or unknown. "Not asked yet", "timed out" and "forgotten in a restart" are all unknown, never "no"."""

from dataclasses import dataclass
from datetime import datetime
from typing import Generic, NamedTuple, TypeVar

from deepseek_operator.api.reasons import Reason

__all__ = ["Address", "Encryption", "Fact", "Failure", "Known", "Probe", "ProbeTarget", "Unknown"]

T = TypeVar("T")


@dataclass(frozen=True)
class Known(Generic[T]):
    """A fact and the moment at which it was true.

    Attributes
    ----------
    at
        When the question was asked, not when the answer came: what happened in between may be missing from it.
    """

    value: T
    at: datetime


@dataclass(frozen=True)
class Unknown:
    """A fact that nobody could establish.

    Attributes
    ----------
    why
        A sentence for people.
    since
        Since when it has been unknown; None if it was never asked for.
    """

    why: str
    since: datetime | None = None


Fact = Known[T] | Unknown


@dataclass(frozen=True)
class Failure:
    """Why something failed: our Reason, and the provider's own words."""

    reason: Reason
    message: str


class Address(NamedTuple):
    """Where one engine listens. Host and port belong together: replicas of two revisions may use different ports.

    A tuple, because much is looked up by addresses, and Python hashes no other object as quickly.
    """

    host: str
    port: int

    def __str__(self) -> str:
        """Return ``host:port``, with brackets around an IPv6 address."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, text: str) -> "Address | None":
        """Return the address written as ``host:port``, or None if ``text`` is not one."""
        host, _, port = text.rpartition(":")
        if not host or not port.isdigit() or not 0 < int(port) < 65_536:
            return None
        return cls(host.removeprefix("[").removesuffix("]"), int(port))


@dataclass(frozen=True)
class Probe:
    """Result of asking an engine whether it can serve.

    Attributes
    ----------
    healthy
        It answered, or it has missed too few answers in a row to count as silent.
    since
        Since when ``healthy`` has had its value.
    running
        Requests that the engine is working on or holds in its queue; None where its metrics do not say.
    dropped
        Connections are neither accepted nor refused. A machine refuses them while nothing listens on the port, so
        something in between keeps them from it.
    """

    healthy: bool
    since: datetime
    detail: str = ""
    running: int | None = None
    dropped: bool = False


@dataclass(frozen=True)
class Encryption:
    """How to know an engine that answers over TLS.

    Attributes
    ----------
    authority
        Certificate of the authority that has signed its certificate, as PEM.
    server_name
        Name that its certificate must hold.
    """

    authority: str
    server_name: str


@dataclass(frozen=True)
class ProbeTarget:
    """How an address is to be probed.

    Attributes
    ----------
    path
        HTTP path that answers 200 when the engine can serve.
    trusted
        It answered before this process started, so one missed answer does not make it silent.
    keep_alive
        False for a Service: a kept connection would stay with one pod.
    running
        Prometheus series whose sum is the number of requests in the engine; only asked for where given.
    encryption
        None: plain HTTP.
    """

    path: str = "/health"
    trusted: bool = False
    keep_alive: bool = True
    running: tuple[str, ...] = ()
    encryption: Encryption | None = None
