"""Leader election: of all operators that could act on an object, one does.

Two replicas of one release compete for one Lease. Two releases have a Lease each, so each Lease also says which
namespaces its holder serves; a holder whose namespaces overlap with those of an older live Lease waits.

The official client's election has neither scopes nor a release of the Lease on shutdown, which makes the difference
between a hand-over in two seconds and one in fifteen.
"""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

import structlog

from deepseek_operator.kube.client import MERGE, KubeClient
from deepseek_operator.kube.errors import KubeConflictError, KubeDeniedError, KubeError, KubeNotFoundError
from deepseek_operator.kube.resources import FIELD_MANAGER, LEASES

__all__ = ["SCOPE_ANNOTATION", "LeaderElection"]

log = structlog.get_logger(__name__)

LEASE_S: Final = 15
"""Seconds after which a Lease that was not renewed is free."""
RENEW_LIMIT_S: Final = 10.0
"""Seconds without a successful renewal after which the holder gives up, well before the Lease is free."""
RETRY_S: Final = 2.0
SAID_AGAIN_S: Final = 60.0
"""Seconds after which the log says again that the Lease is not renewed, for the same reason."""
_NOTHING_SAID: Final = ("", 0.0)
PART_OF: Final = "app.kubernetes.io/part-of"
SCOPE_ANNOTATION: Final = "deepseek-operator.io/scope"


class LeaderElection:
    """Competes for one Lease.

    Parameters
    ----------
    identity
        Name of this process; the holder's name in the Lease.
    scope
        Namespaces that this operator serves; empty for all.
    """

    def __init__(
        self,
        client: KubeClient,
        name: str,
        namespace: str,
        *,
        identity: str,
        scope: tuple[str, ...] = (),
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._client, self._name, self._namespace = client, name, namespace
        self._identity, self._scope, self._clock = identity, scope, clock
        self._seen: tuple[str, str] = ("", "")
        self._seen_at = 0.0
        """Holder and renewal of the Lease while it is somebody else's, and since when it has shown these."""
        self._acquired = ""
        """When this process has acquired the Lease, which tells which of two releases came first."""
        self._waits_for = ""
        self._not_renewed = _NOTHING_SAID
        """Words and time of the last line about a renewal that failed, until one succeeds."""
        self._others: dict[tuple[str, str], tuple[dict[str, Any], float]] = {}
        """Leases that other releases hold, and when their last renewal was first seen here."""

    async def run(self, started: Callable[[], None], lost: Callable[[], None]) -> None:
        """Compete until cancelled; release the Lease then, so that another one can take it at once.

        Parameters
        ----------
        started
            Called once, when the Lease is held and no other release serves the same namespaces.
        lost
            Called when the Lease could not be renewed. Another operator may act from a moment later on.
        """
        loop = asyncio.get_running_loop()
        leading, renewed = False, loop.time()
        try:
            while True:
                began = loop.time()
                # Of a leader neither an attempt nor the pause after it may outlast what is left to it.
                left_s = renewed + RENEW_LIMIT_S - began if leading else RENEW_LIMIT_S
                held = await self._try(min(RENEW_LIMIT_S / 2, left_s))
                if held:
                    renewed = began
                    self._not_renewed = _NOTHING_SAID
                    # Others may have the Lease by the time at which it is known that nobody is in the way.
                    if not leading and not await self._another_release() and loop.time() - renewed < RENEW_LIMIT_S:
                        leading = True
                        log.info("leading", lease=f"{self._namespace}/{self._name}", identity=self._identity)
                        started()
                elif leading and (held is False or loop.time() - renewed >= RENEW_LIMIT_S):
                    leading = False
                    lost()
                await asyncio.sleep(min(RETRY_S, renewed + RENEW_LIMIT_S - loop.time()) if leading else RETRY_S)
        finally:
            await asyncio.shield(self._release())

    async def _try(self, limit_s: float) -> bool | None:
        """Return whether the Lease is ours now; None if that is not known within ``limit_s``."""
        try:
            async with asyncio.timeout(limit_s):
                return await self._take()
        except (KubeError, TimeoutError) as error:
            self._say_not_renewed(str(error) or "the API server did not answer in time")
            return None
        except Exception:
            # If that ended the election, this process would go on leading beside the next one.
            log.exception("lease_not_renewed", lease=f"{self._namespace}/{self._name}")
            return None

    def _say_not_renewed(self, words: str) -> None:
        """Log a failed renewal once a minute while its reason stays: the API server is asked every 2 seconds."""
        said, at = self._not_renewed
        now = asyncio.get_running_loop().time()
        if words != said or now - at >= SAID_AGAIN_S:
            self._not_renewed = words, now
            log.warning("lease_not_renewed", lease=f"{self._namespace}/{self._name}", error=words)

    async def _take(self) -> bool | None:
        path = LEASES.path(self._namespace, self._name)
        try:
            lease = await self._client.request("GET", path)
        except KubeNotFoundError:
            if self._seen[0] and asyncio.get_running_loop().time() - self._seen_at <= LEASE_S:
                return False  # somebody has deleted it, and its holder acts until it notices
            body = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", **self._body({}, acquired=True)}
            body["metadata"] |= {"name": self._name, "namespace": self._namespace}
            try:
                await self._client.request("POST", LEASES.path(self._namespace), body=body)
            except KubeConflictError:
                return False
            return True
        spec = _spec(lease)
        ours = spec.get("holderIdentity") == self._identity
        self._acquired = str(spec.get("acquireTime") or "") if ours else ""
        if ours:
            self._seen = ("", "")
        elif not self._free(lease):
            return False
        change = self._body(spec, acquired=not ours)
        change["metadata"]["resourceVersion"] = lease["metadata"]["resourceVersion"]
        try:
            await self._client.request(
                "PATCH", path, body=change, query={"fieldManager": FIELD_MANAGER}, content_type=MERGE
            )
        except KubeConflictError:
            return None if ours else False
        return True

    def _free(self, lease: dict[str, Any]) -> bool:
        """Return whether a Lease of someone else has run out.

        What counts is how long *we* have not seen it renewed: clocks of two machines may differ.
        """
        spec = _spec(lease)
        seen = (str(spec.get("holderIdentity") or ""), str(spec.get("renewTime")))
        now = asyncio.get_running_loop().time()
        if seen != self._seen:
            self._seen, self._seen_at = seen, now
        return not seen[0] or now - self._seen_at > float(spec.get("leaseDurationSeconds") or LEASE_S)

    def _body(self, before: dict[str, Any], *, acquired: bool) -> dict[str, Any]:
        now = self._clock().isoformat(timespec="microseconds").replace("+00:00", "Z")
        spec: dict[str, Any] = {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": LEASE_S,
            "renewTime": now,
        }
        if acquired:
            # One that somebody has deleted comes back as it was, or another release would have come first.
            spec |= {
                "acquireTime": self._acquired or now,
                "leaseTransitions": int(before.get("leaseTransitions") or 0) + 1,
            }
        return {
            "metadata": {
                "labels": {PART_OF: "deepseek-operator"},
                "annotations": {SCOPE_ANNOTATION: ",".join(self._scope) or "*"},
            },
            "spec": spec,
        }

    async def _another_release(self) -> bool:
        """Return whether an older live Lease of another release covers one of our namespaces, or may do so."""
        try:
            leases = await self._leases()
        except KubeError as error:
            log.warning("leases_not_listed", error=str(error), waits=True)
            return True
        except Exception:
            log.exception("leases_not_listed", waits=True)
            return True
        listed = {(str(lease["metadata"].get("namespace")), str(lease["metadata"]["name"])): lease for lease in leases}
        mine = listed.pop((self._namespace, self._name), None)
        if mine is None:
            return True  # somebody has deleted it just now
        held = self._held_by_others(listed)
        older = [lease for lease in held if self._overlaps(lease["metadata"]) and _rank(lease) < _rank(mine)]
        names = ", ".join(f"{lease['metadata']['namespace']}/{lease['metadata']['name']}" for lease in older)
        if names and names != self._waits_for:
            log.warning("another_release_serves_these_namespaces", lease=names, waits=True)
        self._waits_for = names
        return bool(older)

    async def _leases(self) -> list[dict[str, Any]]:
        query = {"labelSelector": f"{PART_OF}=deepseek-operator"}
        try:
            found = await self._client.request("GET", LEASES.path(), query=query)
        except KubeDeniedError:
            found = await self._client.request("GET", LEASES.path(self._namespace), query=query)
        return list(found["items"])

    def _held_by_others(self, listed: dict[tuple[str, str], dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the Leases that other releases may hold: for as long as we have not seen them run out.

        One that is listed no more is among them: somebody has deleted it, and its holder acts until it notices.
        """
        now = asyncio.get_running_loop().time()
        for place, lease in listed.items():
            known, _ = self._others.get(place, (None, 0.0))
            if not _spec(lease).get("holderIdentity"):
                self._others.pop(place, None)
            elif known is None or _spec(known).get("renewTime") != _spec(lease).get("renewTime"):
                self._others[place] = (lease, now)
        live = {
            place: lease
            for place, (lease, since) in self._others.items()
            if now - since < 2 * float(_spec(lease).get("leaseDurationSeconds") or LEASE_S)
        }
        self._others = {place: kept for place, kept in self._others.items() if place in live or place in listed}
        return list(live.values())

    def _overlaps(self, metadata: dict[str, Any]) -> bool:
        theirs = set(str((metadata.get("annotations") or {}).get(SCOPE_ANNOTATION, "*")).split(","))
        return not self._scope or "*" in theirs or bool(theirs & set(self._scope))

    async def _release(self) -> None:
        path = LEASES.path(self._namespace, self._name)
        try:
            lease = await self._client.request("GET", path)
            if _spec(lease).get("holderIdentity") == self._identity:
                change = {
                    "metadata": {"resourceVersion": lease["metadata"]["resourceVersion"]},
                    "spec": {"holderIdentity": ""},
                }
                await self._client.request("PATCH", path, body=change, content_type=MERGE)
        except KubeError as error:
            log.warning("lease_not_released", error=str(error))


def _spec(lease: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = lease.get("spec") or {}
    return spec


def _rank(lease: dict[str, Any]) -> tuple[str, str, str]:
    metadata, spec = lease["metadata"], _spec(lease)
    return (str(spec.get("acquireTime")), str(metadata.get("namespace")), str(metadata["name"]))
