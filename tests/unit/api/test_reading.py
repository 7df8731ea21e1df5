"""Objects as other versions of the operator wrote them."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from deepseek_operator.api.base import read_amount, read_time, without_unreadable
from deepseek_operator.api.status import Cost
from deepseek_operator.api.v1alpha1 import DeepSeekDeployment, InvalidObjectError

METADATA = {"name": "r1", "namespace": "serving", "uid": "6f1ed002-ab5a-4c1b-9d0c-0123456789ab"}
SPEC = {"model": {"name": "deepseek-ai/DeepSeek-R1"}}


def body(**status: Any) -> dict[str, Any]:
    return {"metadata": METADATA, "spec": SPEC, "status": status}


@pytest.mark.parametrize(
    ("place", "left"),
    [
        (("a",), {"b": [{"c": 1}, {"c": 2}]}),
        (("b", 0, "c"), {"a": 1, "b": [{}, {"c": 2}]}),
        (("b", 1), {"a": 1, "b": [{"c": 1}]}),
        (("b", 1, "missing"), {"a": 1, "b": [{"c": 1}]}),
        (("b", 0, "c", "deeper"), {"a": 1, "b": [{}, {"c": 2}]}),
        (("b", 7), {"a": 1}),
    ],
)
def test_what_cannot_be_read_is_left_out(place: tuple[int | str, ...], left: Any) -> None:
    assert without_unreadable({"a": 1, "b": [{"c": 1}, {"c": 2}]}, place) == left


def test_one_unreadable_instance_does_not_hide_the_others() -> None:
    written = body(instances=[{"phase": "Ready"}, {"name": "r1-6f1ed002-00000000-1", "restarts": "many"}])
    (instance,) = DeepSeekDeployment.parse(written).status.instances
    assert (instance.name, instance.restarts) == ("r1-6f1ed002-00000000-1", 0)


def test_hundreds_of_unreadable_values_are_left_out_too() -> None:
    written = body(instances=[{"name": f"n{i}", "restarts": "?", "ledger": {"attempts": "?"}} for i in range(200)])
    assert len(DeepSeekDeployment.parse(written).status.instances) == 200


def test_a_status_that_is_no_object_counts_as_none() -> None:
    assert DeepSeekDeployment.parse({**body(), "status": "Running"}).status.conditions == ()


def test_a_spec_is_never_read_leniently() -> None:
    with pytest.raises(InvalidObjectError, match=r"spec\.replicas"):
        DeepSeekDeployment.parse({**body(instances=[{}]), "spec": {**SPEC, "replicas": "two"}})


def test_objects_do_not_keep_the_names_of_the_fields_that_were_given() -> None:
    one = DeepSeekDeployment.parse(body(instances=[{"name": "r1-6f1ed002-00000000-0"}]))
    one.spec.model_copy(update={"replicas": 2})  # nor does a copy write into what all of them share
    parts = (one, one.metadata, one.spec, one.spec.model, one.status, *one.status.instances)
    assert [part.model_fields_set for part in parts] == [set()] * len(parts)


def test_a_moment_without_a_time_zone_is_of_utc_so_that_it_can_be_compared() -> None:
    written = body(instances=[{"name": "r1", "ledger": {"readySince": "2026-01-01T12:00:00"}}])
    (instance,) = DeepSeekDeployment.parse(written).status.instances
    assert instance.ledger.ready_since == datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-01T12:00:00Z", datetime(2026, 1, 1, 12, tzinfo=UTC)),
        ("2026-01-01T12:00:00", datetime(2026, 1, 1, 12, tzinfo=UTC)),
        ("yesterday", None),
        ("", None),
        (None, None),
    ],
)
def test_a_moment_that_nobody_can_read_is_none(text: str | None, moment: datetime | None) -> None:
    assert read_time(text) == moment


@pytest.mark.parametrize(
    ("text", "amount"),
    [("2.50", Decimal("2.5")), ("much", None), ("NaN", None), ("Infinity", None), ("", None), (None, None)],
)
def test_an_amount_that_nobody_can_read_is_none(text: str | None, amount: Decimal | None) -> None:
    assert read_amount(text) == amount


@pytest.mark.parametrize(("spent", "hourly"), [("NaN", "1"), ("much", "1"), ("0", "Infinity")])
def test_what_was_spent_goes_on_from_an_amount_that_nobody_can_read(spent: str, hourly: str) -> None:
    cost = Cost(spent=spent, hourly=hourly, spent_at="2026-01-01T12:00:00")
    assert cost.spent_until(datetime(2026, 1, 1, 13, tzinfo=UTC)) == (0 if hourly == "Infinity" else 1)
