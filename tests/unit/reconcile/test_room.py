"""A status of many replicas with much to say is still an object that etcd stores."""

import json
from dataclasses import replace
from typing import Any

import pytest

from deepseek_operator.api.reasons import Reason
from deepseek_operator.api.status import (
    DeepSeekDeploymentStatus,
    EngineStatus,
    ExcludedPlace,
    Instance,
    Ledger,
    PlaceTriedStatus,
)
from deepseek_operator.api.v1alpha1 import DeepSeekDeployment
from deepseek_operator.facts.base import Failure, Known
from deepseek_operator.facts.skypilot import Outcome, PlaceTried, RequestKind
from deepseek_operator.facts.text import within
from deepseek_operator.facts.world import World
from deepseek_operator.reconcile.room import room_for
from deepseek_operator.reconcile.status import dump_status
from tests.unit.reconcile import builders as b

ETCD = 1_572_864
"""Bytes of a request that etcd takes by default."""
SPEC = 500_000
"""Bytes left for the spec, and for its copy that ``kubectl apply`` keeps in an annotation of at most 256 KiB."""


def places(letter: str, count: int) -> list[str]:
    return [(letter + str(number)).ljust(253, "x") for number in range(count)]


def full(of: DeepSeekDeployment, text: str) -> World:
    """As many replicas as there can be, half of them on their way out, each with as much to say as the API allows."""
    ledger = Ledger(
        engine="VLLM",
        port=b.PORT,
        health_path="/".ljust(200, "h"),
        infra="aws",
        address="254.254.254.254:65535",
        renting=True,
        price="1234.5678",
        cost_limit="1234.5678",
        on_demand=True,
        place=places("p", 1)[0],
        place_since=b.ago(90),
        excluded=tuple(ExcludedPlace(place=place, until=b.ago(-600)) for place in places("e", 8)),
        certificate_until=b.ago(-9e6),
        launched_at=b.ago(600),
        starting_since=b.ago(50),
        leaving_since=b.ago(50),
        unpublished_since=b.ago(40),
        teardown_at=b.ago(30),
        attempts=99,
        restarts=99,
        counted="request/req-8",
        failure_reason="LaunchFailed",
        failure_message=text[:2048],
        retry_after=b.ago(-60),
    )
    tried = tuple(
        PlaceTriedStatus(place=place, reason="NoCapacity", code="c" * 128, time="2026-11-24T11:59:00Z")
        for place in places("t", 10)
    )
    engine = EngineStatus(
        kv_cache_tokens=12_345_678,
        planned_kv_cache_tokens=12_345_678,
        tokens_per_second=120_000.0,
        running=1024,
        waiting=1024,
        kv_cache_usage=0.95,
    )
    current, older = ([name(of, number) for number in range(100)] for name in (b.name, b.older))
    instances = tuple(
        Instance(
            name=str(name),
            revision=name.revision,
            region="r" * 253,
            accelerators="A" * 64,
            places_tried=tried,
            message=text[:2048],
            ledger=ledger,
            engine=engine,
        )
        for name in (*current, *older)
    )
    none = tuple(PlaceTried(place, Reason.NO_CAPACITY, "d" * 128) for place in places("y", 10))
    failed = Known(Outcome("req-9", RequestKind.LAUNCH, b.ago(5), Failure(Reason.NO_CAPACITY, text), tried=none), b.NOW)
    row = {name: b.row(name, cloud="AWS", region="us-east-1") for name in older}
    return b.world(
        of.model_copy(update={"status": of.status.model_copy(update={"instances": instances})}),
        *(b.facts(name, outcome=failed, terminated=b.TERMINATED) for name in current),
        *(b.facts(name, skypilot=b.seen(row[name]), outcome=b.failed_teardown(text)) for name in older),
        secrets=b.API_KEY_EXISTS,
        clouds=b.CLOUDS_ENABLED,
    )


def stored(value: Any) -> int:
    """Bytes of a value in etcd."""
    return len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())


def written_by_us(value: Any, key: str = "") -> Any:
    """What ``metadata.managedFields`` says of a value: the names of all its fields."""
    if isinstance(value, dict):
        return {f"f:{name}": written_by_us(one, name) for name, one in value.items()}
    if (named := {"instances": "name", "conditions": "type"}.get(key)) is not None:
        return {f"k:{json.dumps({named: one[named]})}": {".": {}, **written_by_us(one)} for one in value}
    return {}


DSD = b.rented_deployment(replicas=100, updateStrategy={"maxSurge": 100})


def after(world: World) -> tuple[World, DeepSeekDeploymentStatus]:
    _, status = b.step(world)
    return replace(world, deployment=world.deployment.model_copy(update={"status": status})), status


@pytest.mark.parametrize("text", ["x" * 4096, "中" * 4096], ids=["ASCII", "three bytes a character"])
def test_the_largest_status_is_stored(text: str) -> None:
    _, status = after(full(DSD, text))
    assert len(status.instances) == 200
    body = dump_status(status)
    assert stored(body) + stored(written_by_us({"status": body})) < ETCD - SPEC


def test_what_was_cut_is_not_written_again_and_again() -> None:
    world, status = after(full(DSD, "x" * 4096))
    assert status.instances[0].message.endswith("…")
    world, second = after(world)
    assert after(world)[1] == second


def test_few_replicas_say_everything() -> None:
    assert [(room_for(count).words, room_for(count).places) for count in (0, 1, 40)] == [(2048, 10)] * 3
    assert (room_for(200).words, room_for(200).places) == (600, 2)
    assert room_for(100_000).places == 1


@pytest.mark.parametrize(
    ("text", "size", "expected"),
    [
        ("short", 5, "short"),
        ("too long", 7, "too…"),
        ("中文字", 9, "中文字"),
        ("中文字", 8, "中…"),
        ("a\ud800", 9, "a\ud800"),
    ],
)
def test_words_are_cut_between_characters(text: str, size: int, expected: str) -> None:
    found = within(text, size)
    assert found == expected
    assert len(found.encode(errors="replace")) <= size
