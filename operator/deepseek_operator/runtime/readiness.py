"""``/readyz``: whether this process could act now. Liveness is kopf's, at ``/healthz``.

The pod is Ready only while SkyPilot answers: ``helm install --wait`` returns when a deployment would be launched at
once, and a rolling update of the operator stops at a pod that cannot reach its server. A pod that waits for the Lease
is Ready too: it would act if it had it. While nothing moves SkyPilot is asked every 30 s only, so a server that is gone
is noticed that late.
"""

from collections.abc import Callable

from aiohttp import web

__all__ = ["Readiness"]


class Readiness:
    """Serves ``/readyz`` until closed: 200 with ``ok``, or 503 with a sentence.

    Parameters
    ----------
    address
        ``host:port`` to listen on.
    unready
        Returns why the process is not ready; empty if it is.
    """

    def __init__(self, address: str, unready: Callable[[], str]) -> None:
        self._host, _, port = address.rpartition(":")
        self._port = int(port)
        self._unready = unready
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen.

        Raises
        ------
        OSError
            If the address is taken.
        """
        app = web.Application()
        app.router.add_get("/readyz", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, self._host, self._port).start()

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Where it listens."""
        return [] if self._runner is None else [(str(one[0]), int(one[1])) for one in self._runner.addresses]

    async def close(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _answer(self, _: web.Request) -> web.Response:
        why = self._unready()
        return web.Response(text=f"{why or 'ok'}\n", status=503 if why else 200)
