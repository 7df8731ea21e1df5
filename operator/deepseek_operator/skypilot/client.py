"""Client of the SkyPilot API server's REST interface, as far as the operator uses it.

Every call is one POST that returns a request id at once, and for short ones a wait for its result. Launches are never
waited for: an open long-poll keeps the server from shutting down, and the snapshot sees them anyway.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final, Self

import yaml

from deepseek_operator.catalog import PriceInfo
from deepseek_operator.facts.base import Address, Failure
from deepseek_operator.facts.skypilot import Job, JobState, Outcome, RequestKind, SkyPilotCluster, SkyPilotRequest
from deepseek_operator.planning.offers import Offer
from deepseek_operator.skypilot import wire
from deepseek_operator.skypilot.authority import AuthorityFile
from deepseek_operator.skypilot.errors import SkyPilotError, SkyPilotRequestFailedError, SkyPilotUnavailableError
from deepseek_operator.skypilot.failures import classify, no_access
from deepseek_operator.skypilot.prices import hourly_price, read_offers, read_prices
from deepseek_operator.skypilot.token import TokenFile
from deepseek_operator.skypilot.transport import Observe, Transport
from deepseek_operator.skypilot.tried import places_tried

__all__ = ["API_VERSION", "SERVER_VERSION", "SkyPilotClient", "Snapshot"]

SERVER_VERSION: Final = "0.14.1"
"""Version of SkyPilot that the operator was tested against."""
API_VERSION: Final = 62
"""Its API version, sent with every request; the server refuses what it cannot serve."""

_SUBMIT_S: Final = 20.0
"""Seconds for the server to accept a launch, an exec or a teardown."""


@dataclass(frozen=True)
class Snapshot:
    """All clusters, and all launches, execs and teardowns in flight, by cluster name."""

    clusters: Mapping[str, SkyPilotCluster] = field(default_factory=dict)
    requests: Mapping[str, tuple[SkyPilotRequest, ...]] = field(default_factory=dict)


class SkyPilotClient:
    """Typed calls of one SkyPilot API server.

    Parameters
    ----------
    endpoint
        Base URL, such as ``http://127.0.0.1:46580``.
    user_id
        The 8 hexadecimal digits under which SkyPilot files everything of this installation. They end every name on the
        cloud, so they must never change while anything runs.
    token
        Service-account token of a shared server, as text or in a file that may be replaced; None for a sidecar on
        loopback.
    authority
        By which the server's certificate is believed; None: the public ones of this machine.
    observe
        Called after each request.

    Attributes
    ----------
    transport
        The connection, for calls that the operator itself does not make.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        user_id: str,
        token: str | TokenFile | None = None,
        authority: AuthorityFile | None = None,
        observe: Observe = lambda *_: None,
    ) -> None:
        self._user_id = user_id
        identity = {"SKYPILOT_USER_ID": user_id, "SKYPILOT_USER": "deepseek-operator"}
        headers = {"X-SkyPilot-API-Version": str(API_VERSION), "X-SkyPilot-Version": SERVER_VERSION}
        self.transport = Transport(
            endpoint, headers=headers, identity=identity, token=token, authority=authority, observe=observe
        )
        self._clock = self.transport.clock

    async def __aenter__(self) -> Self:
        """Return the client; it holds connections until closed."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connections."""
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self.transport.close()

    async def health(self) -> dict[str, Any]:
        """Return what the server says of itself: ``version``, ``api_version``, ``status``."""
        answer: dict[str, Any] = (await self.transport.send("GET", "/api/health")).json()
        return answer

    async def user(self) -> str:
        """Return the id under which the server files what this client asks for.

        A server that knows its users by their credentials files it under the id of those, whatever the client says.
        """
        known = (await self.health()).get("user") or {}
        return str(known.get("id") or self._user_id)

    async def clusters(self) -> dict[str, SkyPilotCluster]:
        """Return every cluster that the server knows, by name, without asking any provider."""
        # The summary leaves out each cluster's task; the server stores every answer in its request database.
        body = {"all_users": True, "include_credentials": False, "include_handle": False, "summary_response": True}
        rows: dict[str, SkyPilotCluster] = await self.transport.call("/status", body, read=wire.cluster_rows)
        return rows

    async def snapshot(self) -> Snapshot:
        """Return everything that the server knows at this moment, in two calls for all clusters.

        Raises
        ------
        SkyPilotError
            If it cannot be had, or comes in a form that this version does not know.
        """
        try:
            # Requests first: a launch that ends between the two calls is then seen as both in flight and a cluster,
            # never as neither.
            dated_by_server = await self._requests_in_flight(None)
            clusters = await self.clusters()
            # Only now: the second call tells what the server's clock shows.
            return Snapshot(clusters, self._by_our_clock(dated_by_server))
        except (KeyError, TypeError, ValueError) as error:
            raise SkyPilotUnavailableError(f"the SkyPilot API server answers in an unknown form: {error!r}") from error

    async def requests_in_flight(self, cluster_name: str | None = None) -> dict[str, tuple[SkyPilotRequest, ...]]:
        """Return launches, execs and downs that have not ended, by cluster name."""
        return self._by_our_clock(await self._requests_in_flight(cluster_name))

    async def _requests_in_flight(self, cluster_name: str | None) -> dict[str, tuple[SkyPilotRequest, ...]]:
        found: dict[str, tuple[SkyPilotRequest, ...]] = await self.transport.requests(
            cluster_name, ended=False, read=wire.requests_in_flight
        )
        return found

    def _by_our_clock(self, found: dict[str, tuple[SkyPilotRequest, ...]]) -> dict[str, tuple[SkyPilotRequest, ...]]:
        if not self._clock.differs:
            return found
        return {
            name: tuple(replace(request, created_at=self._clock.ours(request.created_at)) for request in requests)
            for name, requests in found.items()
        }

    async def last_outcome(self, cluster_name: str) -> Outcome | None:
        """Return how the newest ended launch, exec or down of a name ended; None if the server remembers none.

        For a failure the error is fetched, and of a launch the log: only there stands which places had no machines, and
        the provider's code.
        """
        payloads: list[dict[str, Any]] = await self.transport.requests(cluster_name, ended=True)
        ended = [(p, kind) for p in payloads if (kind := wire.kind_of(p)) and p.get("finished_at")]
        if not ended:
            return None
        newest, kind = max(ended, key=lambda pair: float(pair[0]["finished_at"]))
        request_id, finished_at = str(newest["request_id"]), self._clock.ours(wire.finished_at(newest))
        if newest["status"] == "SUCCEEDED":
            log = await self.transport.request_log(request_id) if kind is RequestKind.LAUNCH else ""
            return Outcome(request_id, kind, finished_at, tried=places_tried(log, succeeded=True))
        error_type, message = wire.error_of(await self.transport.result(request_id))
        if kind is RequestKind.DOWN and error_type in ("ClusterDoesNotExist", "ValueError"):
            return Outcome(request_id, kind, finished_at, found=False)
        told = kind is RequestKind.LAUNCH and newest["status"] == "FAILED"
        log = await self.transport.request_log(request_id) if told else ""
        failure, tried = classify(error_type, message, log), places_tried(log)
        return Outcome(request_id, kind, finished_at, failure, tried=tried)

    async def job(self, cluster_name: str) -> Job:
        """Return the newest job of a cluster."""
        try:
            body = {"cluster_name": cluster_name, "job_ids": None}
            return wire.job_of(await self.transport.call("/job_status", body))
        except SkyPilotRequestFailedError as error:
            if error.error_type == "ClusterDoesNotExist":  # it asks the provider before it says so
                return Job(0, JobState.NO_CLUSTER, error.error_type)
            if error.error_type == "ClusterNotUpError":
                return Job(0, JobState.UNREACHABLE, error.error_type)
            raise

    async def job_log(self, cluster_name: str, job_id: int, lines: int = 500) -> str:
        """Return the last lines of a job's log."""
        body = {"cluster_name": cluster_name, "job_id": job_id, "follow": False, "tail": lines}
        return await self.transport.text("POST", "/logs", body=body)

    async def endpoints(self, cluster_name: str, port: int) -> Address | None:
        """Return where a port of a rented head node answers; None while there is no such address."""
        value = await self.transport.call("/endpoints", {"cluster": cluster_name, "port": port})
        address = (value or {}).get(str(port))
        return Address.parse(str(address).removeprefix("http://")) if address else None

    async def terminated(self, cluster_name: str) -> datetime | None:
        """Return when the server last terminated a cluster of this name, or saw that it was gone; None: never.

        A cluster that is in neither its table nor its history was lost with its database.
        """
        # For one cluster alone the answer would hold its task, and the server stores every answer.
        gone_at = wire.terminated_at(await self.transport.call("/cost_report", {"days": 30}), cluster_name)
        return self._clock.ours(gone_at) if gone_at is not None else None

    async def hourly_price(self, cluster_name: str) -> Decimal | None:
        """Return US dollars an hour of all nodes of a cluster, at the price of what was rented; None if unknown."""
        body = {"days": 1, "cluster_names": [cluster_name]}
        return hourly_price(await self.transport.call("/cost_report", body), cluster_name)

    async def cloud_access(self, cloud: str) -> Failure | None:
        """Return why the server cannot rent machines of a cloud; None if it can, as far as it knows.

        What the server has found before is believed first. Only where it has not found credentials, it looks again:
        that takes seconds and asks the provider.
        """
        if cloud in await self.enabled_clouds():
            return None
        request_id = await self.transport.start("/check", {"clouds": [cloud], "verbose": False})
        try:
            found = wire.return_value(await self.transport.result(request_id))
        except SkyPilotRequestFailedError as error:
            return no_access(cloud, error.error_type, error.message)
        except SkyPilotUnavailableError:
            # It is asked again in a moment: on a slow server checks would pile up, each slowing down all others.
            with suppress(SkyPilotError):
                await self.transport.start("/api/cancel", {"request_ids": [request_id]})
            raise
        if wire.may_compute(found, cloud):
            return None
        return no_access(cloud, "", await self.transport.request_log(request_id))

    async def enabled_clouds(self) -> tuple[str, ...]:
        """Return the clouds for which the server has found credentials before, by their lower-case names."""
        known = await self.transport.call("/enabled_clouds")
        return tuple(str(name).lower() for name in known or ())

    async def offers(self, clouds: list[str], day: date) -> tuple[Offer, ...]:
        """Return every machine with GPUs of these clouds in every region, by SkyPilot's own catalogs of ``day``."""
        body = {"gpus_only": True, "clouds": clouds, "all_regions": True, "require_price": True}
        return read_offers(await self.transport.call("/list_accelerators", body), day)

    async def prices(self, clouds: list[str], day: date) -> tuple[PriceInfo, ...]:
        """Return what machines with GPUs cost on these clouds, by SkyPilot's own catalogs of ``day``."""
        body = {"gpus_only": True, "clouds": clouds, "all_regions": False, "require_price": True}
        return read_prices(await self.transport.call("/list_accelerators", body), day)

    async def machine_prices(self, cloud: str) -> dict[tuple[str, str, bool], Decimal]:
        """Return US dollars an hour of machines with GPUs, by type, region, and whether it is a spot machine."""
        rows = [offer.price for offer in await self.offers([cloud], date.min)]
        found = [(row, False, row.on_demand) for row in rows] + [(row, True, row.spot) for row in rows]
        return {(r.instance_type, r.region or "", spot): price for r, spot, price in found if price is not None}

    async def launch(self, cluster_name: str, task: dict[str, Any], config: dict[str, Any]) -> str:
        """Ask for a cluster that runs ``task``; return the request id.

        A failed launch is tried again by the operator, never by ``retry_until_up``: SkyPilot would keep to itself why
        each attempt failed.

        Raises
        ------
        SkyPilotRejectedError
            If the task cannot be launched anywhere, whatever happens.
        """
        body = {"task": _yaml(task), "cluster_name": cluster_name, "retry_until_up": False}
        return await self._submit("/launch", body | {"override_skypilot_config": config})

    async def exec(self, cluster_name: str, task: dict[str, Any], config: dict[str, Any]) -> str:
        """Run ``task`` on a cluster that is up; return the request id."""
        body = {"task": _yaml(task), "cluster_name": cluster_name}
        return await self._submit("/exec", body | {"override_skypilot_config": config})

    async def down(self, cluster_name: str) -> str:
        """Give a cluster back, cancelling its launches; return the request id."""
        return await self._submit("/down", {"cluster_name": cluster_name, "purge": False})

    async def cancel(self, request_ids: list[str]) -> None:
        """End requests that a teardown would not: those that have not begun, and teardowns."""
        await self.transport.call("/api/cancel", {"request_ids": request_ids})

    async def _submit(self, path: str, body: dict[str, Any]) -> str:
        return await self.transport.start(path, body, seconds=_SUBMIT_S)


def _yaml(task: dict[str, Any]) -> str:
    """Return ``task`` as YAML, with the C library where there is one: ten times as fast."""
    return str(yaml.dump(task, Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper)))
