"""What ``engine.args`` and ``engine.maxModelLen`` fix together."""

import pytest

from tests.unit.planning.builders import plan_for

# flag for the context, engine.maxModelLen, context that is served; None: as without either
CONTEXTS = [
    ("--max-model-len 4096", None, 4096),
    ("--max-model-len 4096", 4096, 4096),
    ("--max-model-len auto", 4096, 4096),
    ("--max-model-len -1", 4096, 4096),
    ("--max-model-len auto", None, None),
]


@pytest.mark.parametrize(("flag", "field", "context"), CONTEXTS)
def test_the_context_is_the_users_from_the_flag_or_from_the_field(
    flag: str, field: int | None, context: int | None
) -> None:
    resources = {"accelerators": ["L4:1"]}
    plan = plan_for("r1-8b", engine={"name": "VLLM", "args": flag.split(), "maxModelLen": field}, resources=resources)
    assert plan.max_model_len == (context or plan_for("r1-8b", resources=resources).max_model_len)
