"""Client of the SkyPilot API server's REST interface, as far as the operator uses it.

Every call is one POST that returns a request id at once, and for short ones a wait for its result. Launches are never
waited for: an open long-poll keeps the server from shutting down, and the snapshot sees them anyway.
"""

from datetime import date
from typing import Any, Final, Self

import httpx2
import yaml

from deepseek_operator.catalog import PriceInfo
from deepseek_operator.reconcile.failures import classify
from deepseek_operator.reconcile.text import clean
from deepseek_operator.reconcile.world import ClusterRow, Job, JobState, Outcome, Request, RequestKind
from deepseek_operator.skypilot import wire
from deepseek_operator.skypilot.errors import (
    SkyPilotRejectedError,
    SkyPilotRequestFailedError,
    SkyPilotUnavailableError,
)
from deepseek_operator.skypilot.prices import read_prices

__all__ = ["API_VERSION", "SERVER_VERSION", "SkyPilotClient"]

SERVER_VERSION: Final = "0.14.1"
"""Version of SkyPilot that the operator was tested against."""
API_VERSION: Final = 62
"""Its API version, sent with every request; the server refuses what it cannot serve."""

_FIELDS: Final = ("request_id", "name", "status", "cluster_name", "created_at", "finished_at", "status_msg")
_SHORT_S: Final = 30.0
_LOG_BYTES: Final = 65_536


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
    """

    def __init__(
        self,
        endpoint: str,
        *,
        user_id: str,
        token: str | None = None,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self._identity = {"SKYPILOT_USER_ID": user_id, "SKYPILOT_USER": "deepseek-operator"}
        headers = {"X-SkyPilot-API-Version": str(API_VERSION), "X-SkyPilot-Version": SERVER_VERSION}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        self._http = httpx2.AsyncClient(
            base_url=endpoint, headers=headers, timeout=httpx2.Timeout(10.0, read=_SHORT_S), transport=transport
        )

    async def __aenter__(self) -> Self:
        """Return the client; it holds connections until closed."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def health(self) -> dict[str, Any]:
        """Return what the server says of itself: ``version``, ``api_version``, ``status``."""
        answer: dict[str, Any] = (await self._send("GET", "/api/health")).json()
        return answer

    async def clusters(self) -> dict[str, ClusterRow]:
        """Return every cluster that the server knows, by name, without asking any provider."""
        body = {"all_users": True, "include_credentials": False, "include_handle": False}
        return wire.cluster_rows(await self._call("/status", body))

    async def requests_in_flight(self, cluster_name: str | None = None) -> dict[str, tuple[Request, ...]]:
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
            return Outcome(request_id, kind, wire.finished_at(newest))
        log = await self._request_log(request_id) if error_type == "ResourcesUnavailableError" else ""
        return Outcome(request_id, kind, wire.finished_at(newest), classify(error_type, message, log))

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
        return await self._text("POST", "/logs", json=self._body(body))

    async def endpoints(self, cluster_name: str, port: int) -> str | None:
        """Return ``host:port`` at which a port of a rented head node answers; None while there is none."""
        value = await self._call("/endpoints", {"cluster": cluster_name, "port": port})
        address = (value or {}).get(str(port))
        return str(address).removeprefix("http://") if address else None

    async def prices(self, clouds: list[str], day: date) -> tuple[PriceInfo, ...]:
        """Return what machines with GPUs cost on these clouds, by SkyPilot's own catalogs of ``day``."""
        body = {"gpus_only": True, "clouds": clouds, "all_regions": False, "require_price": True}
        return read_prices(await self._call("/list_accelerators", body), day)

    async def launch(self, cluster_name: str, task: dict[str, Any], config: dict[str, Any]) -> str:
        """Ask for a cluster that runs ``task``; return the request id.

        A failed launch is tried again by the operator, never by ``retry_until_up``: SkyPilot would keep to itself why
        each attempt failed.

        Raises
        ------
        SkyPilotRejectedError
            If the task cannot be launched anywhere, whatever happens.
        """
        body = {"task": yaml.safe_dump(task), "cluster_name": cluster_name, "retry_until_up": False}
        return await self._start("/launch", body | {"override_skypilot_config": config})

    async def exec(self, cluster_name: str, task: dict[str, Any], config: dict[str, Any]) -> str:
        """Run ``task`` on a cluster that is up; return the request id."""
        body = {"task": yaml.safe_dump(task), "cluster_name": cluster_name}
        return await self._start("/exec", body | {"override_skypilot_config": config})

    async def down(self, cluster_name: str) -> str:
        """Give a cluster back, cancelling its launches; return the request id."""
        return await self._start("/down", {"cluster_name": cluster_name, "purge": False})

    async def cancel(self, request_ids: list[str]) -> None:
        """End requests that have not begun; a teardown cannot, because no cluster of their name is known yet."""
        await self._call("/api/cancel", {"request_ids": request_ids})

    # --- transport -----------------------------------------------------------------------------------------------

    def _body(self, body: dict[str, Any]) -> dict[str, Any]:
        return {"env_vars": self._identity, **body}

    async def _start(self, path: str, body: dict[str, Any]) -> str:
        response = await self._send("POST", path, json=self._body(body))
        request_id = response.headers.get("X-Skypilot-Request-ID")
        if not request_id:
            raise SkyPilotUnavailableError(f"{path} answered without a request id; is this a SkyPilot API server?")
        return str(request_id)

    async def _call(self, path: str, body: dict[str, Any]) -> Any:
        return wire.return_value(await self._get(await self._start(path, body)))

    async def _requests(self, cluster_name: str | None, *, ended: bool) -> list[dict[str, Any]]:
        params: dict[str, Any] = {"all_status": str(ended).lower(), "fields": list(_FIELDS)}
        if cluster_name is not None:
            params["cluster_name"] = cluster_name
        answer: list[dict[str, Any]] = (await self._send("GET", "/api/status", params=params)).json()
        return answer

    async def _get(self, request_id: str) -> dict[str, Any]:
        """Return a request's payload once it has ended; a failed one comes as HTTP 500 with the payload as detail."""
        response = await self._send("GET", "/api/get", params={"request_id": request_id}, failed_is_answer=True)
        payload = response.json()
        detail = payload.get("detail", payload)
        if not isinstance(detail, dict):
            raise SkyPilotUnavailableError(f"request {request_id}: {detail}")
        return detail

    async def _request_log(self, request_id: str) -> str:
        params = {"request_id": request_id, "follow": "false", "format": "plain", "tail": "200"}
        return await self._text("GET", "/api/stream", params=params)

    async def _text(self, method: str, path: str, **kwargs: Any) -> str:
        """Return the end of a streamed text, bounded: a log may be larger than our memory."""
        kept = ""
        try:
            async with self._http.stream(method, path, **kwargs) as response:
                if response.status_code != httpx2.codes.OK:
                    return ""
                async for chunk in response.aiter_text():
                    kept = (kept + chunk)[-_LOG_BYTES:]
        except httpx2.HTTPError:
            return kept
        return kept

    async def _send(self, method: str, path: str, *, failed_is_answer: bool = False, **kwargs: Any) -> httpx2.Response:
        try:
            response = await self._http.request(method, path, **kwargs)
        except httpx2.HTTPError as error:
            words = str(error) or type(error).__name__
            raise SkyPilotUnavailableError(
                f"the SkyPilot API server at {self._http.base_url} does not answer: {words}"
            ) from error
        if response.status_code < 400 or (failed_is_answer and response.status_code == 500):
            return response
        error_type, message = _detail(response)
        # A server of another version answers 400 to everything: nothing is wrong with the request.
        if response.status_code in (400, 404, 422) and error_type != "version_mismatch":
            raise SkyPilotRejectedError(error_type, message)
        raise SkyPilotUnavailableError(f"{path} answered {response.status_code}: {message}")


def _detail(response: httpx2.Response) -> tuple[str, str]:
    try:
        answer = response.json()
    except ValueError:
        return "", response.text[:500]
    if "error" in answer:
        return str(answer["error"]), clean(str(answer.get("message") or ""))
    detail = answer.get("detail", "")
    if isinstance(detail, dict):
        return str(detail.get("type") or ""), str(detail.get("message") or detail)
    return "", str(detail)
