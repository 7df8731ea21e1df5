"""Watches over HTTP, from a server that speaks as the API server does, and what is read of Secrets."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, cast

import pytest
import yaml
from aiohttp import web

from deepseek_operator.api.spec import SecretKeyRef
from deepseek_operator.api.v1alpha1 import LABEL_UID
from deepseek_operator.kube import client as module
from deepseek_operator.kube.client import KubeClient
from deepseek_operator.kube.errors import (
    KubeDeniedError,
    KubeExpiredError,
    KubeNotFoundError,
    KubeRejectedError,
    KubeUnavailableError,
)
from deepseek_operator.kube.official import config
from deepseek_operator.kube.reader import KubeReader

Body = dict[str, Any]


class Server:
    """Answers a watch with lines, and then ends it or breaks the connection."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.status = 200
        self.breaks = False
        self.queries: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.tokens: list[str] = []
        self.expired: set[str] = set()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.tokens.append(request.headers.get("Authorization", ""))
        self.queries.append(dict(request.query))
        self.paths.append(request.path)
        if self.tokens[-1] in self.expired:
            return web.json_response({"message": "Unauthorized", "code": 401}, status=401)
        if self.status >= 400:
            return web.json_response({"message": "no", "code": self.status}, status=self.status)
        response = web.StreamResponse(headers={"Content-Length": "10000000"} if self.breaks else {})
        await response.prepare(request)
        for line in self.lines:
            await response.write(line)
        if self.breaks and request.transport is not None:
            request.transport.close()
        return response


@pytest.fixture
async def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Server]:
    server = Server()
    app = web.Application()
    app.router.add_get("/{path:.*}", server.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0]
    named = {"name": "test", "cluster": {"server": f"http://{host}:{port}"}, "user": {}}
    context = {"name": "test", "context": {"cluster": "test", "user": "test"}}
    config = {"clusters": [named], "users": [named], "contexts": [context], "current-context": "test"}
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Config", **config}))
    monkeypatch.setenv("KUBECONFIG", str(path))
    yield server
    await runner.cleanup()


@pytest.fixture
async def watched(server: Server) -> AsyncIterator[Callable[..., Any]]:
    client = KubeClient()

    async def watched(kind: str = "pods", namespace: str | None = None) -> list[tuple[str, Body]]:
        return [event async for event in KubeReader(client).watch(kind, namespace, "7")]

    yield watched
    await client.close()


def line(type_: str, **metadata: Any) -> bytes:
    return json.dumps({"type": type_, "object": {"metadata": metadata}}).encode() + b"\n"


async def test_a_watch_yields_each_change_until_the_server_ends_it(server: Server, watched: Any) -> None:
    server.lines = [line("ADDED", name="a"), line("DELETED", name="b")]
    assert [(type_, body["metadata"]["name"]) for type_, body in await watched()] == [("ADDED", "a"), ("DELETED", "b")]


async def test_a_watch_starts_after_a_version_and_asks_only_for_what_was_made_for_deployments(
    server: Server, watched: Any
) -> None:
    await watched("pods", "serving")
    assert server.paths == ["/api/v1/namespaces/serving/pods"]
    assert server.queries[0]["resourceVersion"] == "7"
    assert server.queries[0]["labelSelector"] == "deepseek-operator.io/uid"
    assert 200 < int(server.queries[0]["timeoutSeconds"]) < 400


async def test_an_object_may_be_longer_than_a_buffer_and_come_in_pieces(server: Server, watched: Any) -> None:
    long = line("ADDED", name="a", annotations={"note": "x" * 400_000})
    server.lines = [long[:100_000], long[100_000:] + line("ADDED", name="b")[:9], line("ADDED", name="b")[9:]]
    assert [body["metadata"]["name"] for _, body in await watched()] == ["a", "b"]


@pytest.mark.parametrize(
    ("status", "error"), [(410, KubeExpiredError), (403, KubeDeniedError), (503, KubeUnavailableError)]
)
async def test_a_watch_that_is_refused_says_why(
    server: Server, watched: Any, status: int, error: type[Exception]
) -> None:
    server.status = status
    with pytest.raises(error):
        await watched()


async def test_a_version_that_was_forgotten_in_mid_watch_is_told_from_other_errors(
    server: Server, watched: Any
) -> None:
    gone = {"type": "ERROR", "object": {"kind": "Status", "code": 410, "message": "too old resource version"}}
    server.lines = [line("ADDED", name="a"), json.dumps(gone).encode() + b"\n"]
    with pytest.raises(KubeExpiredError, match="too old resource version"):
        await watched()


async def test_a_connection_that_breaks_is_unavailable_and_nothing_worse(server: Server, watched: Any) -> None:
    server.lines, server.breaks = [line("ADDED", name="a")], True
    with pytest.raises(KubeUnavailableError):
        await watched()


class Secrets:
    """A client that has one Secret."""

    def __init__(self, secret: dict[str, Any] | None) -> None:
        self.secret = secret

    async def request(self, method: str, path: str) -> dict[str, Any]:
        assert (method, path) == ("GET", "/api/v1/namespaces/serving/secrets/r1-api-key")
        if self.secret is None:
            raise KubeNotFoundError("secrets r1-api-key not found", 404)
        return self.secret


def secret_of(uid: str, data: dict[str, str]) -> dict[str, Any]:
    return {"metadata": {"labels": {LABEL_UID: uid}}, "data": data}


@pytest.mark.parametrize(
    ("secret", "key"),
    [
        (secret_of("u1", {"token": "c2VzYW1l"}), "sesame"),
        (secret_of("another", {"token": "c2VzYW1l"}), ""),
        (secret_of("u1", {"other": "c2VzYW1l"}), ""),
        (secret_of("u1", {}), ""),
        (None, ""),
    ],
)
async def test_the_key_of_engines_is_the_one_that_was_made_for_the_deployment(
    secret: dict[str, Any] | None, key: str
) -> None:
    reader = KubeReader(cast(Any, Secrets(secret)))
    found = await reader.api_key("serving", "r1", "u1")
    assert found.get_secret_value() == key
    assert "sesame" not in repr(found)


async def test_a_value_that_is_no_text_is_refused_in_words_that_do_not_contain_it() -> None:
    """``repr`` of the error of Python contains all of it, and would be part of a status."""
    reader = KubeReader(cast(Any, Secrets(secret_of("u1", {"token": base64.b64encode(b"\xffsesame").decode()}))))
    reference = SecretKeyRef(name="r1-api-key", key="token")
    for asked in (reader.api_key("serving", "r1", "u1"), reader.secret_value("serving", reference)):
        with pytest.raises(KubeRejectedError) as error:
            await asked
        assert str(error.value) == "Secret r1-api-key: the value of token is not text in UTF-8"


PLUGIN = """#!/bin/sh
echo >> {folder}/runs
printf '{{"kind": "ExecCredential", "apiVersion": "client.authentication.k8s.io/v1", "status": {{"token": "%s"}}}}' \\
  "$(wc -l < {folder}/runs | tr -d ' ')"
"""


async def test_credentials_that_have_expired_are_read_again(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As those of managed clusters do after a quarter of an hour: their kubeconfigs name a program that makes them."""
    monkeypatch.setattr(module, "RENEW_S", 0.0)
    plugin = tmp_path / "plugin"
    plugin.write_text(PLUGIN.format(folder=tmp_path))
    plugin.chmod(0o755)
    made = yaml.safe_load((tmp_path / "kubeconfig").read_text())
    program = {"apiVersion": "client.authentication.k8s.io/v1", "command": str(plugin), "interactiveMode": "Never"}
    made["users"] = [{"name": "test", "user": {"exec": program}}]
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(made))
    server.lines = [b"{}"]
    client = KubeClient()
    await client.request("GET", "/version")
    server.expired.add("Bearer 1")
    await asyncio.gather(*(client.request("GET", "/version") for _ in range(3)))
    await client.request("GET", "/version")
    assert server.tokens == ["Bearer 1"] * 4 + ["Bearer 2"] * 4
    server.expired.add("Bearer 2")
    monkeypatch.setattr(module, "RENEW_S", 60.0)
    with pytest.raises(KubeDeniedError):  # no program is run for each request that is refused
        await client.request("GET", "/version")
    await client.close()


async def test_a_token_that_cannot_be_read_is_unavailable_and_nothing_worse(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever else it were would end the watches, and the process with them."""
    client = KubeClient()
    server.lines = [b"{}"]
    await client.request("GET", "/version")

    def refresh(_: Any) -> None:
        raise config.ConfigException("Token file exists but empty.")

    for one in client._clients.values():
        one.configuration.api_key["BearerToken"] = "Bearer 1"
        one.configuration.refresh_api_key_hook = refresh
    with pytest.raises(KubeUnavailableError, match="Token file exists but empty"):
        await client.request("GET", "/version")
    await client.close()


@pytest.mark.parametrize("value", ["", "Cg==", "DQo="], ids=["nothing", "a line break", "one of Windows"])
async def test_a_secret_with_nothing_in_it_is_waited_for_like_one_that_is_missing(value: str) -> None:
    """An engine whose API key is empty asks for none, and the port of a rented machine is open to the internet."""
    reader, reference = KubeReader(cast(Any, Secrets({"data": {"token": value}}))), SecretKeyRef(name="r1-api-key")
    assert await reader.missing_secret("serving", reference) == "Secret r1-api-key has nothing in its key token"


async def test_a_secret_that_was_emptied_after_the_decision_is_not_sent() -> None:
    reader, reference = KubeReader(cast(Any, Secrets({"data": {"token": ""}}))), SecretKeyRef(name="r1-api-key")
    with pytest.raises(KubeNotFoundError):
        await reader.secret_value("serving", reference)
