"""A server and a client of it."""

from collections.abc import AsyncIterator

import pytest

from deepseek_operator.skypilot.client import SkyPilotClient
from tests.unit.skypilot.server import Server, serving


@pytest.fixture
def server() -> Server:
    """Return what answers."""
    return Server()


@pytest.fixture
async def url(server: Server) -> AsyncIterator[str]:
    """Return the address of the server."""
    async with serving(server) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
async def client(url: str) -> AsyncIterator[SkyPilotClient]:
    """Return a client of the server."""
    async with SkyPilotClient(url, user_id="d5ee9000") as client:
        yield client
