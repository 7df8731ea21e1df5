"""The planner as the operator keeps it: each spec is planned once."""

from typing import Any

import pytest

from deepseek_operator.api.reasons import Reason
from deepseek_operator.api.status import Verdict
from deepseek_operator.planning import Planner
from deepseek_operator.planning.outcome import Planned, Refused
from tests.unit.planning.builders import CATALOG, planned, spec_for

FITS: dict[str, Any] = {"model": "r1-8b", "resources": {"infra": ["kubernetes"]}}
REFUSED: dict[str, Any] = {"model": "r1-8b", "resources": {"infra": ["kubernetes"], "accelerators": ["L4:1000"]}}


@pytest.mark.parametrize(("fields", "kind"), [(FITS, Planned), (REFUSED, Refused)])
def test_equal_specs_are_planned_once(fields: dict[str, Any], kind: type) -> None:
    planner = Planner(CATALOG)
    first = planner.plan(spec_for(**fields))
    assert isinstance(first, kind)
    assert planner.plan(spec_for(**fields)) is first


def test_what_does_not_fit_is_refused_with_what_was_planned() -> None:
    found = Planner(CATALOG).plan(
        spec_for("r1", resources={"infra": ["kubernetes"], "accelerators": ["L4:8"], "nodes": 1})
    )
    assert isinstance(found, Refused)
    assert found.reason is Reason.DOES_NOT_FIT
    assert found.message.startswith("DeepSeek-R1 needs 641 GiB")
    assert found.plan
    assert found.plan.verdict is Verdict.DOES_NOT_FIT


def test_another_spec_or_another_catalog_is_planned_anew() -> None:
    planner, spec = Planner(CATALOG), spec_for(**FITS)
    first = planner.plan(spec)
    assert planner.plan(spec_for("r1-7b", resources={"infra": ["kubernetes"]})) is not first
    planner.catalog = CATALOG.with_prices(CATALOG.prices)
    assert planner.plan(spec) is not first


def test_a_spec_without_a_place_goes_where_the_operator_says() -> None:
    found = Planner(CATALOG, default_infra=("nebius",)).plan(spec_for("r1-8b"))
    assert isinstance(found, Planned)
    assert found.spec.resources.infra == ("nebius",)


def test_a_spec_with_a_place_goes_there() -> None:
    found = Planner(CATALOG, default_infra=("nebius",)).plan(spec_for(**FITS))
    assert isinstance(found, Planned)
    assert found.spec.resources.infra == ("kubernetes",)


def test_the_clouds_whose_prices_are_asked_for_are_those_that_specs_name() -> None:
    planner = Planner(CATALOG)
    planner.plan(spec_for(resources={"infra": ["kubernetes", "aws/us-east-1"]}))
    planner.plan(spec_for(resources={"infra": ["gcp"]}))
    assert planner.clouds == {"aws", "gcp"}


# context of the SkyPilot server, place, what a refusal says would work; empty if the place is taken
CONTEXTS = [
    (None, "kubernetes", ""),
    ("here", "kubernetes", ""),
    ("here", "kubernetes/here", ""),
    ("here", "kubernetes/there", "use kubernetes or kubernetes/here, and an operator of its own in that cluster"),
    (None, "kubernetes/there", "use kubernetes, and an operator of its own in that cluster"),
]


@pytest.mark.parametrize(("own", "place", "words"), CONTEXTS)
def test_another_kubernetes_cluster_is_refused(own: str | None, place: str, words: str) -> None:
    found = Planner(CATALOG, kubernetes_context=own).plan(spec_for(resources={"infra": [place]}))
    assert isinstance(found, Refused) is bool(words)
    if isinstance(found, Refused):
        assert found.reason is Reason.INVALID_SPEC
        assert found.message.endswith(words)


@pytest.mark.parametrize(
    ("infra", "rents"), [(["kubernetes"], False), (["kubernetes", "aws"], True), (["aws"], True), ([], True)]
)
def test_a_replica_may_run_on_a_rented_machine_unless_every_place_is_kubernetes(infra: list[str], rents: bool) -> None:
    assert planned(spec_for(resources={"infra": infra})).rents is rents


@pytest.mark.parametrize(
    ("infra", "users", "own"), [("aws", None, True), ("aws", {"name": "mine"}, False), ("kubernetes", None, False)]
)
def test_rented_machines_ask_for_a_key_of_the_operators_unless_the_user_gave_one(
    infra: str, users: dict[str, str] | None, own: bool
) -> None:
    plan = planned(spec_for(resources={"infra": [infra]}, endpoint={"apiKeySecretRef": users}))
    assert (plan.own_api_key("chat") is not None) is own
