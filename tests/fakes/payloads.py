"""Requests and clusters of the fake SkyPilot server, and the JSON in which the real one (0.14.1) shows them."""

import asyncio
import json
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from tests.fakes.nodes import Wanted

ENDED: Final = ("SUCCEEDED", "FAILED", "CANCELLED")
_PICKLE: Final = "gAROLg=="


@dataclass(frozen=True)
class Call:
    """One HTTP call as it came in."""

    at: float
    """``time.monotonic()``."""
    path: str
    body: dict[str, Any]


class Failed(Exception):
    """A request that ends with an error.

    Attributes
    ----------
    error_type
        Name of SkyPilot's exception class.
    """

    def __init__(self, error_type: str, message: str) -> None:
        super().__init__(message)
        self.error_type, self.message = error_type, message


@dataclass(eq=False)
class Request:
    """One request."""

    id: str
    name: str
    cluster_name: str | None
    status: str = "PENDING"
    created_at: float = field(default_factory=time.time)
    finished_at: float | None = None
    value: Any = None
    error: Failed | None = None
    log: str = ""
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    task: "asyncio.Task[None] | None" = None

    @property
    def long(self) -> bool:
        """Whether it needs one of the few workers."""
        return self.name in ("sky.launch", "sky.exec")

    @property
    def cancellable(self) -> bool:
        """Whether a teardown of its cluster cancels it."""
        return self.long and self.status not in ENDED

    def end(self, status: str, value: Any = None, *, error: Failed | None = None) -> None:
        """Record how it ended and let go who waits for it."""
        self.status, self.value, self.error, self.finished_at = status, value, error, time.time()
        self.ended.set()

    def payload(self, fields: Sequence[str] = ()) -> dict[str, Any]:
        """Return it as JSON; with ``fields``, the others are there and empty."""
        error = None
        if self.error is not None:
            error = {"object": _PICKLE, "type": self.error.error_type, "message": self.error.message}
        full: dict[str, Any] = {
            "request_id": self.id,
            "name": self.name,
            "entrypoint": _PICKLE,
            "request_body": _PICKLE,
            "status": self.status,
            "created_at": self.created_at,
            "user_id": "d5ee9000",
            "return_value": json.dumps(self.value),
            "error": json.dumps(error),
            "pid": None,
            "schedule_type": "long" if self.long else "short",
            "user_name": None,
            "cluster_name": self.cluster_name or None,
            "status_msg": None,
            "should_retry": False,
            "finished_at": self.finished_at,
        }
        if not fields:
            return full
        blank = {"entrypoint": "", "request_body": "null", "user_id": "", "return_value": "null", "error": "null"}
        return full | {key: value for key, value in blank.items() if key not in fields}


@dataclass(eq=False)
class Cluster:
    """A row of SkyPilot's cluster table, and the jobs on its head node.

    Attributes
    ----------
    address
        Host and port of the engine once the head runs.
    hash
        Another one each time a cluster of this name is made.
    """

    wanted: Wanted
    status: str = "INIT"
    hash: str = field(default_factory=lambda: str(uuid.uuid4()))
    launched_at: int = field(default_factory=lambda: int(time.time()))
    event: str = ""
    address: tuple[str, int] | None = None
    jobs: dict[int, str] = field(default_factory=dict)
    logs: dict[int, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Display name."""
        return self.wanted.cluster

    def say(self, event: str) -> None:
        """Set the sentence that SkyPilot shows."""
        self.event = event

    def add_job(self, status: str) -> None:
        """Add a job; ids grow for as long as the cluster lives."""
        self.jobs[max(self.jobs, default=0) + 1] = status

    def end_job(self, status: str, log: str) -> None:
        """End the newest job."""
        newest = max(self.jobs)
        self.jobs[newest], self.logs[newest] = status, log

    def row(self) -> dict[str, Any]:
        """Return it as ``POST /status`` does."""
        return {
            "name": self.name,
            "launched_at": self.launched_at,
            "handle": _PICKLE,
            "last_use": "",
            "status": self.status,
            "autostop": -1,
            "to_down": False,
            "owner": ["skypilot-in-cluster-identity-in-cluster"],
            "metadata": {},
            "cluster_hash": self.hash,
            "cluster_ever_up": self.status == "UP",
            "status_updated_at": self.launched_at,
            "user_hash": self.wanted.on_cloud.rsplit("-", 1)[1],
            "user_name": self.wanted.user,
            "workspace": "default",
            "is_managed": False,
            "last_event": self.event,
            "init_kind": "launching" if self.status == "INIT" else None,
            "init_status_reason": self.event if self.status == "INIT" else None,
            "nodes": self.wanted.nodes,
            "cloud": "Kubernetes",
            "region": "in-cluster",
            "accelerators": None,
            "labels": {},
            "cluster_name_on_cloud": self.wanted.on_cloud,
        }
