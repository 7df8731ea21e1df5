"""Client of the SkyPilot API server's REST interface, as far as the operator uses it.

Every call is one POST that returns a request id at once, and for short ones a wait for its result. Launches are never
waited for: an open long-poll keeps the server from shutting down, and the snapshot sees them anyway.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any, Final, Self

import aiohttp
import yaml

from deepseek_operator.catalog import PriceInfo
from deepseek_operator.facts.base import Address, Failure
from deepseek_operator.facts.skypilot import Job, JobState, Outcome, RequestKind, SkyPilotCluster, SkyPilotRequest
from deepseek_operator.facts.text import clean
from deepseek_operator.planning.offers import Offer
from deepseek_operator.skypilot import wire
from deepseek_operator.skypilot.errors import (
    SkyPilotError,
    SkyPilotRejectedError,
    SkyPilotRequestFailedError,
    SkyPilotUnavailableError,
)
from deepseek_operator.skypilot.failures import classify, no_access
from deepseek_operator.skypilot.prices import hourly_price, read_offers, read_prices
from deepseek_operator.skypilot.tried import places_tried

__all__ = ["API_VERSION", "SERVER_VERSION", "SkyPilotClient", "Snapshot"]

SERVER_VERSION: Final = "0.14.1"
"""Version of SkyPilot that the operator was tested against."""
API_VERSION: Final = 62
"""Its API version, sent with every request; the server refuses what it cannot serve."""

_FIELDS: Final = ("request_id", "name", "status", "cluster_name", "created_at", "finished_at", "status_msg")
_CONNECT_S: Final = 3.0
_ASK_S: Final = 10.0
"""Seconds for a call that the server answers at once."""
_RESULT_S: Final = 30.0
"""Seconds for a result. Most take 0.2 s; a server that is short of CPU takes longer, and no pass waits for it."""
_SUBMIT_S: Final = 20.0
"""Seconds for the server to accept a launch, an exec or a teardown."""
_LOG_BYTES: Final = 65_536

_Query = Sequence[tuple[str, str]]
Observe = Callable[[str, float | None, str], None]
"""Called with the path of a request, its seconds, and the kind of its error: ``unavailable``, ``rejected``, ``failed``
(accepted, and failed later; without seconds), or empty."""


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
        Service-account token of a shared server; None for a sidecar on loopback.
    observe
        Called after each request.
    """

    def __init__(
        self, endpoint: str, *, user_id: str, token: str | None = None, observe: Observe = lambda *_: None
    ) -> None:
        self._observe = observe
        self._endpoint = endpoint.rstrip("/")
        self._identity = {"SKYPILOT_USER_ID": user_id, "SKYPILOT_USER": "deepseek-operator"}
        self._headers = {"X-SkyPilot-API-Version": str(API_VERSION), "X-SkyPilot-Version": SERVER_VERSION}
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token}"
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        """Return the client; it holds connections until closed."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connections."""
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    async def health(self) -> dict[str, Any]:
        """Return what the server says of itself: ``version``, ``api_version``, ``status``."""
        answer: dict[str, Any] = (await self._send("GET", "/api/health")).json()
        return answer

    async def clusters(self) -> dict[str, SkyPilotCluster]:
        """Return every cluster that the server knows, by name, without asking any provider."""
        # The summary leaves out each cluster's task; the server stores every answer in its request database.
        body = {"all_users": True, "include_credentials": False, "include_handle": False, "summary_response": True}
        return wire.cluster_rows(await self._call("/status", body))

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
            requests = await self.requests_in_flight()
            return Snapshot(await self.clusters(), requests)
        except (KeyError, TypeError, ValueError) as error:
            raise SkyPilotUnavailableError(f"the SkyPilot API server answers in an unknown form: {error!r}") from error

    async def requests_in_flight(self, cluster_name: str | None = None) -> dict[str, tuple[SkyPilotRequest, ...]]:
        """Return launches, execs and downs that have not ended, by cluster name."""
        return wire.requests_in_flight(await self._requests(cluster_name, ended=False))

    async def last_outcome(self, cluster_name: str) -> Outcome | None:
        """Return how the newest ended launch, exec or down of a name ended; None if the server remembers none.

        For a failure the error is fetched, and its log where a cloud's own error code stands.
        """
        payloads = await self._requests(cluster_name, ended=True)
        ended = [(p, kind) for p in payloads if (kind := wire.kind_of(p)) and p.get("finished_at")]
        if not ended:
            return None
        newest, kind = max(ended, key=lambda pair: float(pair[0]["finished_at"]))
        request_id = str(newest["request_id"])
        if newest["status"] == "SUCCEEDED":
            return Outcome(request_id, kind, wire.finished_at(newest))
        error_type, message = wire.error_of(await self._get(request_id))
        if kind is RequestKind.DOWN and error_type in ("ClusterDoesNotExist", "ValueError"):
            return Outcome(request_id, kind, wire.finished_at(newest), found=False)
        log = await self._request_log(request_id) if kind is RequestKind.LAUNCH and newest["status"] == "FAILED" else ""
        failure, tried = classify(error_type, message, log), places_tried(log)
        return Outcome(request_id, kind, wire.finished_at(newest), failure, tried=tried)

    async def job(self, cluster_name: str) -> Job:
        """Return the newest job of a cluster."""
        try:
            return wire.job_of(await self._call("/job_status", {"cluster_name": cluster_name, "job_ids": None}))
        except SkyPilotRequestFailedError as error:
            if error.error_type in ("ClusterNotUpError", "ClusterDoesNotExist"):
                return Job(0, JobState.UNREACHABLE, error.error_type)
            raise

    async def job_log(self, cluster_name: str, job_id: int, lines: int = 500) -> str:
        """Return the last lines of a job's log."""
        body = {"cluster_name": cluster_name, "job_id": job_id, "follow": False, "tail": lines}
        return await self._text("POST", "/logs", body=self._body(body))

    async def endpoints(self, cluster_name: str, port: int) -> Address | None:
        """Return where a port of a rented head node answers; None while there is no such address."""
        value = await self._call("/endpoints", {"cluster": cluster_name, "port": port})
        address = (value or {}).get(str(port))
        return Address.parse(str(address).removeprefix("http://")) if address else None

    async def terminated(self, cluster_name: str) -> bool:
        """Return whether the server remembers a cluster of this name that it has terminated.

        A cluster that is in neither its table nor its history was lost with its database.
        """
        history = await self._call("/cost_report", {"days": 30})
        return any(row.get("name") == cluster_name and not row.get("status") for row in history or ())

    async def hourly_price(self, cluster_name: str) -> Decimal | None:
        """Return US dollars an hour of all nodes of a cluster, at the price of what was rented; None if unknown."""
        body = {"days": 1, "cluster_names": [cluster_name]}
        return hourly_price(await self._call("/cost_report", body), cluster_name)

    async def cloud_access(self, cloud: str) -> Failure | None:
        """Return why the server cannot rent machines of a cloud; None if it can, as far as it knows.

        What the server has found before is believed first. Only where it has not found credentials, it looks again:
        that takes seconds and asks the provider.
        """
        if cloud in await self.enabled_clouds():
            return None
        request_id = await self._start("/check", {"clouds": [cloud], "verbose": False})
        try:
            found = wire.return_value(await self._get(request_id))
        except SkyPilotRequestFailedError as error:
            return no_access(cloud, error.error_type, error.message)
        except SkyPilotUnavailableError:
            # It is asked again in a moment: on a slow server checks would pile up, each slowing down all others.
            with suppress(SkyPilotError):
                await self._start("/api/cancel", {"request_ids": [request_id]})
            raise
        if wire.may_compute(found, cloud):
            return None
        return no_access(cloud, "", await self._request_log(request_id))

    async def enabled_clouds(self) -> tuple[str, ...]:
        """Return the clouds for which the server has found credentials before, by their lower-case names."""
        path = "/enabled_clouds"
        known = wire.return_value(await self._get(self._id_of(path, await self._send("GET", path))))
        return tuple(str(name).lower() for name in known or ())

    async def offers(self, clouds: list[str], day: date) -> tuple[Offer, ...]:
        """Return every machine with GPUs of these clouds in every region, by SkyPilot's own catalogs of ``day``."""
        body = {"gpus_only": True, "clouds": clouds, "all_regions": True, "require_price": True}
        return read_offers(await self._call("/list_accelerators", body), day)

    async def prices(self, clouds: list[str], day: date) -> tuple[PriceInfo, ...]:
        """Return what machines with GPUs cost on these clouds, by SkyPilot's own catalogs of ``day``."""
        body = {"gpus_only": True, "clouds": clouds, "all_regions": False, "require_price": True}
        return read_prices(await self._call("/list_accelerators", body), day)

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
        """End requests that have not begun; a teardown cannot, because no cluster of their name is known yet."""
        await self._call("/api/cancel", {"request_ids": request_ids})

    # --- transport -----------------------------------------------------------------------------------------------

    def _body(self, body: dict[str, Any]) -> dict[str, Any]:
        return {"env_vars": self._identity, **body}

    async def _submit(self, path: str, body: dict[str, Any]) -> str:
        return await self._start(path, body, seconds=_SUBMIT_S)

    async def _start(self, path: str, body: dict[str, Any], *, seconds: float = _ASK_S) -> str:
        return self._id_of(path, await self._send("POST", path, body=self._body(body), seconds=seconds))

    @staticmethod
    def _id_of(path: str, answer: "_Answer") -> str:
        request_id = answer.headers.get("X-Skypilot-Request-ID")
        if not request_id:
            raise SkyPilotUnavailableError(f"{path} answered without a request id; is this a SkyPilot API server?")
        return str(request_id)

    async def _call(self, path: str, body: dict[str, Any]) -> Any:
        payload = await self._get(await self._start(path, body))
        try:
            return wire.return_value(payload)
        except SkyPilotRequestFailedError:
            self._observe(path, None, "failed")
            raise

    async def _requests(self, cluster_name: str | None, *, ended: bool) -> list[dict[str, Any]]:
        query = [("all_status", str(ended).lower()), *(("fields", name) for name in _FIELDS)]
        if cluster_name is not None:
            query.append(("cluster_name", cluster_name))
        answer: list[dict[str, Any]] = (await self._send("GET", "/api/status", query=query)).json()
        return answer

    async def _get(self, request_id: str) -> dict[str, Any]:
        """Return a request's payload once it has ended; a failed one comes as HTTP 500 with the payload as detail."""
        query = [("request_id", request_id)]
        answer = await self._send("GET", "/api/get", query=query, seconds=_RESULT_S, failed_is_answer=True)
        payload = answer.json()
        detail = payload.get("detail", payload)
        if not isinstance(detail, dict):
            raise SkyPilotUnavailableError(f"request {request_id}: {detail}")
        return detail

    async def _request_log(self, request_id: str) -> str:
        query = [("request_id", request_id), ("follow", "false"), ("format", "plain"), ("tail", "200")]
        return await self._text("GET", "/api/stream", query=query)

    async def _text(self, method: str, path: str, *, query: _Query = (), body: dict[str, Any] | None = None) -> str:
        """Return the end of a streamed text, bounded: a log may be larger than our memory."""
        kept = b""
        try:
            async with self._request(method, path, query=query, body=body, seconds=_ASK_S) as response:
                if response.status != 200:
                    return ""
                async for chunk in response.content.iter_any():
                    kept = (kept + chunk)[-_LOG_BYTES:]
        except (aiohttp.ClientError, TimeoutError, OSError):
            pass  # what has come so far is better than nothing
        return kept.decode(errors="replace")

    async def _send(
        self,
        method: str,
        path: str,
        *,
        query: _Query = (),
        body: dict[str, Any] | None = None,
        seconds: float = _ASK_S,
        failed_is_answer: bool = False,
    ) -> "_Answer":
        began, error = time.monotonic(), ""
        try:
            return await self._exchange(method, path, query, body, seconds, failed_is_answer)
        except SkyPilotRejectedError:
            error = "rejected"
            raise
        except SkyPilotUnavailableError:
            error = "unavailable"
            raise
        finally:
            self._observe(path, time.monotonic() - began, error)

    async def _exchange(
        self,
        method: str,
        path: str,
        query: _Query,
        body: dict[str, Any] | None,
        seconds: float,
        failed_is_answer: bool,
    ) -> "_Answer":
        try:
            async with self._request(method, path, query=query, body=body, seconds=seconds) as response:
                answer = _Answer(response.status, response.headers, await response.read())
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            words = str(error) or type(error).__name__
            raise SkyPilotUnavailableError(
                f"the SkyPilot API server at {self._endpoint} does not answer: {words}",
                maybe_heard=not isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError),
            ) from error
        if answer.status < 400 or (failed_is_answer and answer.status == 500):
            return answer
        error_type, message = _detail(answer)
        # A server of another version answers 400 to everything: nothing is wrong with the request.
        if answer.status in (400, 404, 422) and error_type != "version_mismatch":
            raise SkyPilotRejectedError(error_type, message)
        raise SkyPilotUnavailableError(f"{path} answered {answer.status}: {message}")

    def _request(
        self, method: str, path: str, *, query: _Query, body: dict[str, Any] | None, seconds: float
    ) -> "aiohttp.client._RequestContextManager":
        if self._session is None:  # made inside the event loop that it belongs to
            self._session = aiohttp.ClientSession()
        timeout = aiohttp.ClientTimeout(total=seconds, connect=_CONNECT_S)
        url = self._endpoint + path
        return self._session.request(method, url, params=query, json=body, headers=self._headers, timeout=timeout)


@dataclass(frozen=True)
class _Answer:
    """An answer that has been read."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the decoded body.

        Raises
        ------
        SkyPilotUnavailableError
            If it is not JSON: something else answers at this address.
        """
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise SkyPilotUnavailableError("the SkyPilot API server answers with something that is not JSON") from error


def _yaml(task: dict[str, Any]) -> str:
    """Return ``task`` as YAML, with the C library where there is one: ten times as fast."""
    return str(yaml.dump(task, Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper)))


def _detail(answer: _Answer) -> tuple[str, str]:
    try:
        found = json.loads(answer.body)
    except ValueError:
        return "", answer.body.decode(errors="replace")[:500]
    if not isinstance(found, dict):
        return "", str(found)[:500]
    if "error" in found:
        return str(found["error"]), clean(str(found.get("message") or ""))
    detail = found.get("detail", "")
    if isinstance(detail, dict):
        return str(detail.get("type") or ""), str(detail.get("message") or detail)
    return "", str(detail)
