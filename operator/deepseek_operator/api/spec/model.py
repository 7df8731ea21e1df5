"""Which model is served, and how fast its answers should be."""

from enum import StrEnum
from typing import Annotated

from pydantic import ConfigDict

from deepseek_operator.api.base import SpecModel, field, list_of, rules

__all__ = ["Model", "Objective", "Ranking", "SecretKeyRef"]

_DNS_LABEL = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"


class SecretKeyRef(SpecModel):
    """A key of a Secret in the namespace of the deployment."""

    name: str = field("Name of the Secret.", min_length=1, max_length=253, pattern=_DNS_LABEL)
    key: str = field("Key in the Secret's data.", default="token", min_length=1, max_length=253)


class Model(SpecModel):
    """Which model is served."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "!has(self.path) || !has(self.huggingFaceTokenSecretRef)",
                "huggingFaceTokenSecretRef must not be set together with path: nothing is downloaded when the model "
                "is read from a directory",
            ),
            ("!has(self.path) || !self.path.matches('/[.][.](/|$)')", "path must not contain .."),
        )
    )

    name: str = field(
        "Hugging Face id of the model (deepseek-ai/DeepSeek-R1-Distill-Llama-8B) or an alias from the catalog. "
        "The name as written here is always accepted in requests. A model that is not in the catalog needs "
        "resources.accelerators.",
        min_length=1,
        max_length=200,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*$",
    )
    served_names: Annotated[
        tuple[str, ...],
        list_of(
            {"type": "string", "minLength": 1, "maxLength": 200, "pattern": r"^[A-Za-z0-9][A-Za-z0-9._:/-]*$"},
            max_items=16,
        ),
    ] = field("Further names under which requests may ask for the model.", default=())
    path: str | None = field(
        "Directory with the weights, in the engine image or on a volume of podTemplate, read instead of downloading.",
        default=None,
        max_length=500,
        pattern=r"^/[A-Za-z0-9._/-]*$",
    )
    hugging_face_token_secret_ref: SecretKeyRef | None = field(
        "Secret with a Hugging Face token, for gated models and against rate limits. Unset: none is used.", default=None
    )


class Ranking(StrEnum):
    """Which of the machines that will do is taken."""

    LOWEST_HOURLY_COST = "LowestHourlyCost"
    LOWEST_COST_PER_TOKEN = "LowestCostPerToken"


class Objective(SpecModel):
    """What the answers should be like. Figures are the planner's, for prompts of 2,000 and answers of 500 tokens."""

    min_tokens_per_second_per_request: float | None = field(
        "Fewest output tokens a second of each request: with as many requests at once as concurrency says, or of one "
        "request alone where it is unset. Unset: no limit.",
        default=None,
        gt=0,
        le=100_000,
    )
    max_time_to_first_token_seconds: float | None = field(
        "Longest time from a prompt's arrival at an idle engine to its first token. Unset: no limit.",
        default=None,
        gt=0,
        le=3600,
    )
    concurrency: int | None = field(
        "Requests that one replica works on at the same time. Unset: as many as fit, up to 256, and no demand.",
        default=None,
        ge=1,
        le=4096,
    )
    ranking: Ranking = field(
        "LowestHourlyCost: the machine that costs least. LowestCostPerToken: the one whose output tokens cost least at "
        "full load.",
        default=Ranking.LOWEST_HOURLY_COST,
    )
