"""What people have approved, kept apart from the operator's own reckoning: specs are compared, and no hashes."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Approvals", "Terms"]

Body = dict[str, Any]


@dataclass(frozen=True)
class Terms:
    """The part of a spec that costs money; ``resources`` as JSON."""

    resources: str
    replicas: int
    surge: int
    required: bool = True

    @classmethod
    def of(cls, spec: Body) -> "Terms":
        """Return the part of this spec."""
        strategy = spec.get("updateStrategy") or {}
        resources = json.dumps(spec["resources"], sort_keys=True)
        return cls(
            resources,
            int(spec.get("replicas", 1)),
            int(strategy.get("maxSurge", 1)),
            spec.get("approval") == "Required",
        )

    def allows(self, wanted: "Terms", present: int) -> bool:
        """Return whether somebody who approved these terms lets so many replicas of the wanted ones exist."""
        more = self.surge if wanted.replicas <= self.replicas else 0
        return self.resources == wanted.resources and present <= self.replicas + more


@dataclass
class Approvals:
    """Approvals of one world, by the UID of their deployment."""

    _specs: dict[tuple[str, int], Terms] = field(default_factory=dict)
    _shown: dict[tuple[str, str], Terms] = field(default_factory=dict)
    _given: dict[str, list[tuple[float, Terms | None]]] = field(default_factory=dict)

    def wish(self, body: Body) -> Terms:
        """Note a generation of a spec; return what of it costs money."""
        terms = Terms.of(body["spec"])
        self._specs[body["metadata"]["uid"], body["metadata"]["generation"]] = terms
        return terms

    def on_status(self, body: Body) -> None:
        """Note of which spec a status shows the plan."""
        uid, status = body["metadata"]["uid"], body["status"]
        planned = any(one["type"] == "Planned" and one["status"] == "True" for one in status["conditions"])
        terms = self._specs.get((uid, status["observedGeneration"]))
        if planned and terms is not None and (shown := status["plan"].get("hash")):
            self._shown[uid, shown] = terms

    def give(self, uid: str, text: str, now: float) -> None:
        """Note that somebody has approved the plan that a status showed under this hash."""
        self._given.setdefault(uid, []).append((now, self._shown.get((uid, text))))

    def allow(self, uid: str, wishes: Iterable[Terms], present: int, since: float) -> bool:
        """Return whether a launch that makes ``present`` replicas was allowed at some moment from ``since`` on."""
        given = self._given.get(uid, [])
        older = [one for one in given if one[0] <= since]
        recent = [terms for _, terms in (*older[-1:], *(one for one in given if one[0] > since))]
        return any(
            not wanted.required or any(terms is not None and terms.allows(wanted, present) for terms in recent)
            for wanted in wishes
        )
