"""HAProxy as a process on loopback, with the configuration that a proxy's pods get."""

import asyncio
import os
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp

from deepseek_operator.facts.names import api_key_secret
from deepseek_operator.launch.proxy import PROXY_PATH, ProxySettings, ProxySpec, haproxy_config

__all__ = ["UID", "HaProxy", "until"]

UID = "0a1b2c3d-4e5f-6789-abcd-ef0123456789"
KEY_REF = api_key_secret("r1")
SPEC = ProxySpec("r1", UID, "serving", "/health", ProxySettings())
WAIT_S = 20.0


async def until(condition: Any, what: str) -> None:
    """Wait until an async condition holds.

    Raises
    ------
    AssertionError
        It does not within :data:`WAIT_S`.
    """
    deadline = asyncio.get_running_loop().time() + WAIT_S
    while not await condition():
        assert asyncio.get_running_loop().time() < deadline, what
        await asyncio.sleep(0.02)


class HaProxy:
    """One proxy.

    Parameters
    ----------
    nameserver
        ``host:port`` of the DNS server.
    authority
        Certificate of the authority of the engines; None: none answers over TLS.
    key
        What the container has as ``ENGINE_KEY``.
    """

    def __init__(self, folder: Path, nameserver: str, *, authority: str | None = None, key: str | None = None) -> None:
        self._folder, self._nameserver, self._authority, self._key = folder, nameserver, authority, key
        self.process: asyncio.subprocess.Process | None = None
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Run it."""
        ca, config = self._folder / "ca.crt", self._folder / "haproxy.cfg"
        ca.write_text(self._authority or "")
        spec = SPEC if self._authority is None else replace(SPEC, encrypted=True)
        if self._key is not None:
            spec = replace(spec, api_key=KEY_REF)
        text = haproxy_config(spec, authority_file=str(ca))
        config.write_text(text)
        listen = f"[::]:{self.port}" if socket.has_dualstack_ipv6() else f":{self.port}"
        variables = {"MEMBERS_DOMAIN": "serving.svc.test", "NAMESERVER": self._nameserver, "LISTEN": listen}
        if self._key is not None:
            variables["ENGINE_KEY"] = self._key
        self.process = await asyncio.create_subprocess_exec(
            "haproxy", "-db", "-f", str(config), env={**os.environ, **variables}
        )

    async def ready(self) -> bool:
        """Return whether it says that it has an engine."""
        return await self.status(PROXY_PATH) == 200

    async def status(self, path: str) -> int:
        """Return the status of a GET; 0 where nobody listens."""
        try:
            async with aiohttp.ClientSession() as session, session.get(self.url + path) as answer:
                return answer.status
        except aiohttp.ClientError:
            return 0

    async def stop(self) -> None:
        """End it at once."""
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()
