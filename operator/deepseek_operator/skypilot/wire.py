"""From SkyPilot's JSON to the types of the decision. Tolerant of what it does not know, strict in what it returns."""

import json
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

from deepseek_operator.facts.skypilot import (
    Job,
    JobState,
    RequestKind,
    RequestState,
    SkyPilotCluster,
    SkyPilotClusterState,
    SkyPilotRequest,
)
from deepseek_operator.facts.text import clean
from deepseek_operator.skypilot.errors import SkyPilotRequestFailedError

__all__ = [
    "cluster_rows",
    "error_of",
    "finished_at",
    "job_of",
    "kind_of",
    "may_compute",
    "requests_in_flight",
    "return_value",
    "terminated_at",
]

_KINDS: Final = {f"sky.{kind}": kind for kind in RequestKind}
_INCOMPLETE: Final = re.compile(
    r"one or more nodes terminated"
    r"|some but not all nodes are stopped"
    r"|ray cluster is unhealthy \([1-9]\d*/\d+ ready\)"
)
"""What SkyPilot 0.14.1 says of a cluster where the provider, or Ray on its head, counts fewer nodes than were launched.
Not so ``(0/2 ready)`` and its other words: they tell that SkyPilot could not find out."""
_ACTIVE_JOBS: Final = frozenset({"INIT", "PENDING", "SETTING_UP", "RUNNING"})


def cluster_rows(value: Any) -> dict[str, SkyPilotCluster]:
    """Return the rows of ``POST /status``, by name."""
    return {row["name"]: _cluster_row(row) for row in value or ()}


def _cluster_row(row: Mapping[str, Any]) -> SkyPilotCluster:
    state = str(row.get("status") or "")
    detail = row.get("init_status_reason") or row.get("last_event") or ""
    return SkyPilotCluster(
        name=row["name"],
        state=SkyPilotClusterState(state) if state in SkyPilotClusterState.__members__ else SkyPilotClusterState.OTHER,
        detail=_sentence(str(detail)),
        cloud=str(row.get("cloud") or ""),
        region=str(row.get("region") or ""),
        accelerators=_accelerators(row.get("accelerators")),
        nodes=int(row.get("nodes") or 1),
        hash=str(row.get("cluster_hash") or ""),
        user=str(row.get("user_hash") or ""),
        # ``1x[spot](gpus=L4:1, ...)``; other tables of SkyPilot write it with a capital.
        spot="[spot]" in str(row.get("resources_str") or "").lower(),
        incomplete=state == SkyPilotClusterState.INIT and _INCOMPLETE.search(str(detail)) is not None,
    )


@lru_cache(maxsize=16_384)
def _sentence(text: str) -> str:
    """Return words of the server, cleaned. Most of a snapshot are those of the one before, and cleaning is its cost."""
    return clean(text, 400)


def _accelerators(value: Any) -> str:
    """Return ``L4:1`` for what the server writes as a dict, or as the text of one: ``{'L4': 1}``."""
    if not value or value in ("None", "-"):
        return ""
    if isinstance(value, str):
        text = value.strip("{} ").replace("'", "").replace(" ", "")
        return text.removesuffix(".0")
    return ",".join(f"{name}:{count:g}" for name, count in value.items())


def kind_of(payload: Mapping[str, Any]) -> RequestKind | None:
    """Return the kind of a request, or None for kinds that decide nothing."""
    return _KINDS.get(str(payload.get("name")))


def requests_in_flight(value: Iterable[Mapping[str, Any]]) -> dict[str, tuple[SkyPilotRequest, ...]]:
    """Return the launches, execs and downs of ``GET /api/status``, by cluster name, oldest first."""
    found: dict[str, list[SkyPilotRequest]] = {}
    for payload in value:
        kind, name, state = kind_of(payload), payload.get("cluster_name"), str(payload.get("status"))
        if kind is None or not name or state not in RequestState.__members__:
            continue
        found.setdefault(name, []).append(
            SkyPilotRequest(
                id=payload["request_id"],
                kind=kind,
                cluster_name=name,
                state=RequestState(state),
                created_at=_moment(payload.get("created_at")),
                detail=_sentence(str(payload.get("status_msg") or "")),
            )
        )
    return {name: tuple(sorted(requests, key=lambda r: r.created_at)) for name, requests in found.items()}


def may_compute(value: Mapping[str, Any] | None, cloud: str) -> bool:
    """Return whether ``POST /check`` has found that machines of a cloud can be rented, in any workspace."""
    workspaces = (value or {}).values()
    return any("compute" in (can or ()) for found in workspaces for name, can in found.items() if name.lower() == cloud)


def finished_at(payload: Mapping[str, Any]) -> datetime:
    """Return when a request ended."""
    return _moment(payload.get("finished_at") or payload.get("created_at"))


def terminated_at(value: Iterable[Mapping[str, Any]] | None, cluster_name: str) -> datetime | None:
    """Return when the newest cluster of a name went, from ``POST /cost_report``; None if none has gone.

    A name is used again by each launch; every cluster that had it has a row, with the intervals of its use.
    """
    gone = (row for row in value or () if row.get("name") == cluster_name and not row.get("status"))
    ends = (end for row in gone for _, end in (row.get("usage_intervals") or ())[-1:] if end)
    return max(map(_moment, ends), default=None)


def return_value(payload: Mapping[str, Any]) -> Any:
    """Return the value of a request that succeeded.

    Raises
    ------
    SkyPilotRequestFailedError
        If it did not.
    """
    if payload.get("status") != "SUCCEEDED":
        raise SkyPilotRequestFailedError(*error_of(payload))
    value = payload.get("return_value")
    return json.loads(value) if isinstance(value, str) else value


def error_of(payload: Mapping[str, Any]) -> tuple[str, str]:
    """Return ``(class name, message)`` of a request's error; never its pickle."""
    error = payload.get("error")
    if isinstance(error, str):
        try:
            error = json.loads(error)
        except ValueError:
            return "", error
    if not error:
        status = str(payload.get("status") or "unknown")
        return ("RequestCancelled", "the request was cancelled") if status == "CANCELLED" else ("", f"status {status}")
    return str(error.get("type") or ""), str(error.get("message") or "")


def job_of(value: Mapping[str, Any] | None) -> Job:
    """Return the newest job of ``POST /job_status``: ``{"3": "RUNNING"}``, or a null id when there is none."""
    known = {int(key): str(status) for key, status in (value or {}).items() if str(key).isdigit() and status}
    if not known:
        return Job(0, JobState.NONE)
    newest = max(known)
    status = known[newest]
    if status in _ACTIVE_JOBS:
        return Job(newest, JobState.ACTIVE, status)
    return Job(newest, JobState.DRIVER_LOST if status == "FAILED_DRIVER" else JobState.ENDED, status)


def _moment(seconds: Any) -> datetime:
    return datetime.fromtimestamp(float(seconds or 0), UTC)
