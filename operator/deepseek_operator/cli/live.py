"""Asks a SkyPilot server what it can rent and at what price, for ``deepseek-operator plan --skypilot``."""

import asyncio
from datetime import date

from deepseek_operator.cli.places import Live
from deepseek_operator.planning.offers import Offer
from deepseek_operator.runtime.settings import Settings
from deepseek_operator.skypilot.client import SkyPilotClient
from deepseek_operator.skypilot.errors import SkyPilotError, SkyPilotRequestFailedError

__all__ = ["ask"]

_KUBERNETES = frozenset({"kubernetes", "ssh", "slurm"})
"""What the server calls clouds although nothing is rented there; they have no prices."""


def ask(url: str, token: str | None, clouds: tuple[str, ...] | None) -> Live:
    """Return what the server says of these clouds; of all that it can use if None are given.

    Raises
    ------
    OSError
        It cannot be asked; the sentence says why.
    """
    try:
        return asyncio.run(_ask(url, token, clouds))
    except SkyPilotError as error:
        raise OSError(str(error)) from error
    except (TypeError, ValueError) as error:
        raise OSError(f"the SkyPilot API server at {url} answers in an unknown form: {error}") from error


async def _ask(url: str, token: str | None, clouds: tuple[str, ...] | None) -> Live:
    async with SkyPilotClient(url, user_id=Settings().skypilot_user_id, token=token) as client:
        refused: dict[str, str] = {}
        if clouds is None:
            clouds = tuple(sorted({*await client.enabled_clouds()} - _KUBERNETES))
        else:
            answers = {cloud: await client.cloud_access(cloud) for cloud in clouds}
            refused = {cloud: failure.message for cloud, failure in answers.items() if failure is not None}
        offers: list[Offer] = []
        for cloud in clouds:  # one by one: a catalog that the server cannot download hides no other
            try:
                offers += await client.offers([cloud], date.today())
            except SkyPilotRequestFailedError as error:
                refused.setdefault(cloud, f"not known: the server has no catalog of {cloud} ({error.message[:200]})")
    return Live(url, tuple(offers), refused)
