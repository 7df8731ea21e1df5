"""The prober on a virtual clock, with connections that answer as they are told."""

import asyncio
import itertools
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from deepseek_operator.facts.base import Address, Encryption, Known, Probe, ProbeTarget
from deepseek_operator.feeds.http_probe import Answer, NoAnswer
from deepseek_operator.feeds.probes import SILENT_AT_ONCE, Prober
from tests.simulation.clock import run_virtually

KEY = ("serving", "r1")
AT = Address("10.0.0.1", 8000)
HUNG_S = 4.0


class Engines:
    """What answers at which address: ``up``, ``down``, ``hung``, or the body of its metrics."""

    def __init__(self) -> None:
        self.how: dict[Address, str] = {}
        self.metrics = b""
        self.asked: list[tuple[float, Address, str]] = []
        self.told: list[tuple[float, Address, Probe | None]] = []
        self.counted: list[bool] = []
        self.connected: list[str] = []

    def prober(self) -> Prober:
        connect = lambda address, target: _Connection(self, address, target)  # noqa: E731
        return Prober(self.report, connect, count=self.counted.append)

    def report(self, address: Address, fact: Known[Probe] | None) -> None:
        self.told.append((asyncio.get_running_loop().time(), address, fact.value if fact is not None else None))

    def last(self, address: Address = AT) -> Probe | None:
        return next((probe for _, told, probe in reversed(self.told) if told == address), None)

    async def until(self, healthy: bool) -> float:
        began = asyncio.get_running_loop().time()
        while (probe := self.last()) is None or probe.healthy != healthy:
            await asyncio.sleep(0.01)
        return asyncio.get_running_loop().time() - began


class _Connection:
    def __init__(self, engines: Engines, address: Address, target: ProbeTarget) -> None:
        self.engines, self.address = engines, address
        self.pending: asyncio.TimerHandle | None = None
        engines.connected.append(target.encryption.server_name if target.encryption is not None else "")

    def ask(self, path: str, answered: Callable[[Answer | NoAnswer], None]) -> None:
        loop = asyncio.get_running_loop()
        self.engines.asked.append((loop.time(), self.address, path))
        how = self.engines.how.get(self.address, "down")
        answers: dict[str, Answer | NoAnswer] = {
            "up": Answer(200, self.engines.metrics if path == "/metrics" else b""),
            "down": NoAnswer("connection refused"),
            "hung": NoAnswer("no answer within 4 s"),
            "dropped": NoAnswer("no connection within 1 s", dropped=True),
        }
        answer = answers[how]
        self.pending = loop.call_later(HUNG_S if how == "hung" else 0.005, answered, answer)

    def close(self) -> None:
        if self.pending is not None:
            self.pending.cancel()


def play(story: Callable[[Engines, Prober], Coroutine[Any, Any, None]]) -> Engines:
    async def run() -> Engines:
        engines = Engines()
        prober = engines.prober()
        task = asyncio.create_task(prober.run())
        await story(engines, prober)
        task.cancel()
        return engines

    return run_virtually(run())


def test_an_engine_that_answers_is_healthy_within_a_second() -> None:
    async def story(engines: Engines, prober: Prober) -> None:
        prober.watch(KEY, {AT: ProbeTarget()})
        await asyncio.sleep(5)
        assert engines.last() is not None
        assert not engines.last().healthy  # type: ignore[union-attr]
        engines.how[AT] = "up"
        assert await engines.until(True) < 1.2

    play(story)


def test_a_report_says_whether_connections_are_dropped() -> None:
    async def story(engines: Engines, prober: Prober) -> None:
        engines.how[AT] = "dropped"
        prober.watch(KEY, {AT: ProbeTarget()})
        await asyncio.sleep(5)
        assert engines.last() is not None
        assert engines.last().dropped  # type: ignore[union-attr]
        engines.how[AT] = "down"
        await asyncio.sleep(5)
        assert not engines.last().dropped  # type: ignore[union-attr]

    play(story)


def test_a_dead_engine_is_known_within_three_seconds_and_one_miss_is_not_enough() -> None:
    async def story(engines: Engines, prober: Prober) -> None:
        engines.how[AT] = "up"
        prober.watch(KEY, {AT: ProbeTarget()})
        await engines.until(True)
        engines.how[AT] = "down"
        assert await engines.until(False) < 3
        engines.how[AT] = "up"
        await engines.until(True)
        asked = len(engines.asked)
        engines.how[AT] = "down"
        while len(engines.asked) == asked:
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.05)
        engines.how[AT] = "up"
        await asyncio.sleep(10)
        assert engines.last().healthy  # type: ignore[union-attr]

    play(story)


def test_a_hung_engine_is_known_within_ten_seconds() -> None:
    async def story(engines: Engines, prober: Prober) -> None:
        engines.how[AT] = "up"
        prober.watch(KEY, {AT: ProbeTarget()})
        await engines.until(True)
        engines.how[AT] = "hung"
        assert await engines.until(False) < 10

    play(story)


def test_what_answered_before_this_process_started_is_not_given_up_at_the_first_miss() -> None:
    async def story(engines: Engines, prober: Prober) -> None:
        prober.watch(KEY, {AT: ProbeTarget(trusted=True)})
        await asyncio.sleep(0.3)
        assert engines.last() is None
        await asyncio.sleep(1)
        assert not engines.last().healthy  # type: ignore[union-attr]

    play(story)


def test_hundreds_of_silent_addresses_do_not_delay_a_healthy_one() -> None:
    async def story(engines: Engines, prober: Prober) -> None:
        silent = {Address(f"10.1.{high}.{low}", 8000): ProbeTarget() for high in range(3) for low in range(100)}
        engines.how |= {AT: "up", **dict.fromkeys(silent, "hung")}
        prober.watch(("serving", "lost"), silent)
        prober.watch(KEY, {AT: ProbeTarget()})
        await asyncio.sleep(60)
        moments = [moment for moment, address, _ in engines.asked if address == AT]
        assert max(after - before for before, after in itertools.pairwise(moments)) < 1.2

    play(story)


def test_only_changes_are_reported() -> None:
    async def story(engines: Engines, prober: Prober) -> None:
        engines.how[AT] = "up"
        prober.watch(KEY, {AT: ProbeTarget()})
        await asyncio.sleep(100)

    engines = play(story)
    assert len(engines.asked) > 80
    assert len(engines.told) == 1


@pytest.mark.parametrize("value", [b"NaN", b"+Inf", b"1e999", b"many", b""])
def test_a_figure_that_makes_no_sense_is_unknown_and_ends_no_probes(value: bytes) -> None:
    async def story(engines: Engines, prober: Prober) -> None:
        engines.how[AT], engines.metrics = "up", b"vllm:num_requests_running " + value + b"\n"
        prober.watch(KEY, {AT: ProbeTarget(running=("vllm:num_requests_running",))})
        await asyncio.sleep(3)
        engines.how[AT] = "down"
        await asyncio.sleep(3)

    told = [probe for _, _, probe in play(story).told if probe is not None]
    assert [(probe.healthy, probe.running) for probe in told] == [(True, None), (False, None)]


def test_running_requests_are_read_from_the_metrics_of_a_replica_that_drains() -> None:
    async def story(engines: Engines, prober: Prober) -> None:
        engines.how[AT] = "up"
        engines.metrics = (
            b'# HELP vllm:num_requests_running x\nvllm:num_requests_running{model_name="m"} 2.0\n'
            b'vllm:num_requests_running_total{model_name="m"} 9.0\nvllm:num_requests_waiting{model_name="m"} 1.0\n'
        )
        prober.watch(KEY, {AT: ProbeTarget()})
        await engines.until(True)
        assert engines.last().running is None  # type: ignore[union-attr]
        prober.watch(KEY, {AT: ProbeTarget(running=("vllm:num_requests_running", "vllm:num_requests_waiting"))})
        await asyncio.sleep(0.1)
        assert engines.last().running == 3  # type: ignore[union-attr]

    play(story)


def test_an_address_that_nobody_watches_any_more_is_forgotten() -> None:
    async def story(engines: Engines, prober: Prober) -> None:
        engines.how[AT] = "up"
        prober.watch(KEY, {AT: ProbeTarget()})
        prober.watch(("serving", "other"), {AT: ProbeTarget()})
        await engines.until(True)
        prober.watch(KEY, {})
        assert engines.last() is not None
        prober.watch(("serving", "other"), {})
        assert engines.told[-1][2] is None
        asked = len(engines.asked)
        await asyncio.sleep(10)
        assert len(engines.asked) == asked

    play(story)


def test_every_probe_is_counted_and_not_only_those_that_change_something() -> None:
    async def story(engines: Engines, prober: Prober) -> None:
        engines.how[AT] = "up"
        prober.watch(KEY, {AT: ProbeTarget()})
        await asyncio.sleep(10)
        engines.how[AT] = "down"
        await asyncio.sleep(10)

    counted = play(story).counted
    assert 8 <= counted.count(True) <= 13
    assert 8 <= counted.count(False) <= 13
    assert counted == sorted(counted, reverse=True)


def test_another_replica_at_the_same_address_is_asked_anew() -> None:
    async def story(engines: Engines, prober: Prober) -> None:
        engines.how[AT] = "up"
        prober.watch(KEY, {AT: ProbeTarget(encryption=Encryption("pem", "a"))})
        await engines.until(True)
        engines.how[AT] = "hung"
        asked = len(engines.asked)
        while len(engines.asked) == asked:
            await asyncio.sleep(0.01)
        engines.how[AT] = "up"
        prober.watch(KEY, {AT: ProbeTarget(encryption=Encryption("pem", "b"))})
        await asyncio.sleep(0.1)
        assert engines.connected[-2:] == ["a", "b"]
        assert len(engines.asked) == asked + 2

    play(story)


def test_another_replica_at_an_address_that_waits_for_its_turn_is_asked_once() -> None:
    async def story(engines: Engines, prober: Prober) -> None:
        others = {Address(f"10.1.0.{number}", 8000): ProbeTarget() for number in range(SILENT_AT_ONCE)}
        engines.how = dict.fromkeys([*others, AT], "hung")
        prober.watch(KEY, {**others, AT: ProbeTarget(encryption=Encryption("pem", "a"))})
        await asyncio.sleep(1)
        asked = [address for _, address, _ in engines.asked]
        assert (len(asked), AT in asked) == (SILENT_AT_ONCE, False)
        prober.watch(KEY, {**others, AT: ProbeTarget(encryption=Encryption("pem", "b"))})
        await asyncio.sleep(HUNG_S)
        assert [address for _, address, _ in engines.asked].count(AT) == 1

    play(story)
