"""The planner as the operator keeps it: each spec is planned once."""

from typing import Any

import pytest

from deepseek_operator.planning import Planner
from deepseek_operator.planning.outcome import Planned, Refused
from tests.unit.planning.builders import CATALOG, spec_for

FITS: dict[str, Any] = {"model": "r1-8b", "resources": {"infra": ["kubernetes"]}}
REFUSED: dict[str, Any] = {"model": "r1-8b", "resources": {"infra": ["kubernetes"], "accelerators": ["L4:1000"]}}


@pytest.mark.parametrize(("fields", "kind"), [(FITS, Planned), (REFUSED, Refused)])
def test_equal_specs_are_planned_once(fields: dict[str, Any], kind: type) -> None:
    planner = Planner(CATALOG)
    first = planner.plan(spec_for(**fields))
    assert isinstance(first, kind)
    assert planner.plan(spec_for(**fields)) is first


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
