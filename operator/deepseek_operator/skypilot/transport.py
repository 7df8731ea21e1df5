"""One exchange with the SkyPilot API server, and the life of a request there: started, asked for, and its log read.

Every failure becomes one of two: the server refused (:class:`~.errors.SkyPilotRejectedError`), or nobody knows
(:class:`~.errors.SkyPilotUnavailableError`).
"""

import asyncio
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp

from deepseek_operator.facts.text import clean
from deepseek_operator.skypilot import wire
from deepseek_operator.skypilot.authority import AuthorityFile
from deepseek_operator.skypilot.clock import ServerClock
from deepseek_operator.skypilot.errors import (
    SkyPilotRejectedError,
    SkyPilotRequestFailedError,
    SkyPilotUnavailableError,
)
from deepseek_operator.skypilot.token import TokenFile

__all__ = ["Answer", "Observe", "Transport"]

_FIELDS: Final = ("request_id", "name", "status", "cluster_name", "created_at", "finished_at", "status_msg")
_CONNECT_S: Final = 2.5
"""Seconds for a connection: less than a pass waits for an answer, which learns that nothing was sent."""
_ASK_S: Final = 10.0
"""Seconds for a call that the server answers at once."""
_RESULT_S: Final = 30.0
"""Seconds for a result. Most take 0.2 s; a server that is short of CPU takes longer, and no pass waits for it."""
_LOG_BYTES: Final = 65_536
_MAYBE_HEARD: Final = frozenset({500, 502, 504})
"""Status of answers after which a request may be carried out all the same: the server failed in the middle of it, or
something in between lost the server's answer. 503 and 429 refuse a request before anybody works on it."""

_Query = Sequence[tuple[str, str]]
Observe = Callable[[str, float | None, str], None]
"""Called with the path of a request, its seconds, and the kind of its error: ``unavailable``, ``rejected``, ``failed``
(accepted, and failed later; without seconds), or empty."""


class Transport:
    """The connection to one server.

    Parameters
    ----------
    headers
        Sent with every request.
    identity
        Variables by which the server knows whose a request is; sent with every body.
    token
        Sent with every request, as it is at that moment.
    authority
        By which the server's certificate is believed; None: the public ones of this machine.
    observe
        Called after each request.

    Attributes
    ----------
    clock
        That of the server.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        headers: Mapping[str, str],
        identity: Mapping[str, str],
        token: str | TokenFile | None,
        authority: AuthorityFile | None,
        observe: Observe,
    ) -> None:
        self._endpoint = endpoint.rstrip("/")
        parts = urlsplit(self._endpoint)
        # Messages of errors end up in statuses and Events, which more people may read than may use the server.
        self._shown = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        self._headers, self._identity, self._token, self._observe = headers, identity, token, observe
        self._authority = authority
        self.clock = ServerClock()
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    async def start(self, path: str, body: dict[str, Any] | None = None, *, seconds: float = _ASK_S) -> str:
        """Make a request, with GET where there is no body; return its id at once."""
        answer = await self.send("GET" if body is None else "POST", path, body=body, seconds=seconds)
        request_id = answer.headers.get("X-Skypilot-Request-ID")
        if not request_id:
            raise SkyPilotUnavailableError(f"{path} answered without a request id; is this a SkyPilot API server?")
        return str(request_id)

    async def call(
        self, path: str, body: dict[str, Any] | None = None, *, read: Callable[[Any], Any] = lambda value: value
    ) -> Any:
        """Make a request and return its value once it has ended.

        Parameters
        ----------
        read
            What makes facts of the value, in a thread like all decoding: of ten thousand clusters it takes 0.1 s.

        Raises
        ------
        SkyPilotRequestFailedError
            If it ended in an error.
        """
        sent = time.time()
        request_id = await self.start(path, body)
        accepted = time.time()
        answer = await self._ended(request_id)

        def read_payload() -> tuple[Any, Any]:
            payload = _payload(answer)
            return payload.get("created_at"), read(wire.return_value(payload))

        try:
            created_at, value = await asyncio.to_thread(read_payload)
            self.clock.measure(created_at, sent, accepted)
            return value
        except SkyPilotRequestFailedError:
            self._observe(path, None, "failed")
            raise

    async def requests(
        self, cluster_name: str | None, *, ended: bool, read: Callable[[Any], Any] = lambda value: value
    ) -> Any:
        """Return what ``read`` makes of the requests about one cluster or all; ``ended``: also those that have."""
        query = [("all_status", str(ended).lower()), *(("fields", name) for name in _FIELDS)]
        if cluster_name is not None:
            query.append(("cluster_name", cluster_name))
        answer = await self.send("GET", "/api/status", query=query)
        return await asyncio.to_thread(lambda: read(answer.json()))

    async def result(self, request_id: str) -> dict[str, Any]:
        """Return a request's payload once it has ended; a failed one comes as HTTP 500 with the payload as detail."""
        return _payload(await self._ended(request_id))

    async def _ended(self, request_id: str) -> "Answer":
        query = [("request_id", request_id)]
        return await self.send("GET", "/api/get", query=query, seconds=_RESULT_S, failed_is_answer=True)

    async def request_log(self, request_id: str) -> str:
        """Return the end of what a request has logged; empty where that cannot be had."""
        query = [("request_id", request_id), ("follow", "false"), ("format", "plain"), ("tail", "200")]
        return await self.text("GET", "/api/stream", query=query)

    async def text(self, method: str, path: str, *, query: _Query = (), body: dict[str, Any] | None = None) -> str:
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

    async def send(
        self,
        method: str,
        path: str,
        *,
        query: _Query = (),
        body: dict[str, Any] | None = None,
        seconds: float = _ASK_S,
        failed_is_answer: bool = False,
    ) -> "Answer":
        """Return the answer to one exchange.

        Parameters
        ----------
        failed_is_answer
            HTTP 500 is an answer like any other.

        Raises
        ------
        SkyPilotRejectedError
            If the server says that something is wrong with the request.
        SkyPilotUnavailableError
            If it does not answer, or says that something is wrong with itself.
        """
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
    ) -> "Answer":
        try:
            async with self._request(method, path, query=query, body=body, seconds=seconds) as response:
                answer = Answer(response.status, response.headers, await response.read())
        except aiohttp.ClientConnectorCertificateError as error:
            words = getattr(error.certificate_error, "verify_message", "") or str(error)
            raise SkyPilotUnavailableError(
                f"the certificate of the SkyPilot API server at {self._shown} is not believed: {words}. "
                "skypilot.external.ca, --skypilot-ca-file or the variable SSL_CERT_FILE names its authority",
                maybe_heard=False,
            ) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            words = str(error) or type(error).__name__
            raise SkyPilotUnavailableError(
                f"the SkyPilot API server at {self._shown} does not answer: {words}",
                maybe_heard=not isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError),
            ) from error
        if answer.status < 400 or (failed_is_answer and answer.status == 500):
            return answer
        error_type, message = _detail(answer)
        # Nothing is wrong with a request to which a server of another version answers 400, as it does to everything, or
        # a gateway whose server is being replaced 404. To a question 404 is an answer: there is no such request.
        refusals = (400, 404, 422) if method == "GET" else (400, 422)
        if answer.status in refusals and error_type != "version_mismatch":
            raise SkyPilotRejectedError(error_type, message)
        raise SkyPilotUnavailableError(
            f"{path} answered {answer.status}: {message}", maybe_heard=answer.status in _MAYBE_HEARD
        )

    def _request(
        self, method: str, path: str, *, query: _Query, body: dict[str, Any] | None, seconds: float
    ) -> "aiohttp.client._RequestContextManager":
        if self._session is None:  # made inside the event loop that it belongs to
            self._session = aiohttp.ClientSession()
        timeout = aiohttp.ClientTimeout(total=seconds, connect=_CONNECT_S)
        url, whose = self._endpoint + path, {"env_vars": self._identity, **body} if body is not None else None
        bearer = {"Authorization": f"Bearer {self._token}"} if self._token is not None else {}
        headers = {**self._headers, **bearer}
        believed = self._authority.context() if self._authority is not None else True
        return self._session.request(
            method, url, params=query, json=whose, headers=headers, timeout=timeout, ssl=believed
        )


@dataclass(frozen=True)
class Answer:
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


def _payload(answer: Answer) -> dict[str, Any]:
    """Return the payload of a request that has ended."""
    payload = answer.json()
    detail = payload.get("detail", payload)
    if not isinstance(detail, dict):
        raise SkyPilotUnavailableError(f"/api/get: {detail}")
    return detail


def _detail(answer: Answer) -> tuple[str, str]:
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
