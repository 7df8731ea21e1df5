"""What ``engine.args`` and ``engine.maxModelLen`` fix, in one form for both engines."""

from dataclasses import dataclass

from deepseek_operator.api.similar import closest, did_you_mean
from deepseek_operator.api.spec import Engine as EngineSpec
from deepseek_operator.api.spec import EngineName
from deepseek_operator.engines import ArgumentError, Arguments, Engine, parse_arguments
from deepseek_operator.planning.errors import PlanInputError

__all__ = ["Overrides", "read_overrides"]

_FIELD = "engine.args"
_FLAGS = {
    EngineName.VLLM: {
        "tp": "--tensor-parallel-size",
        "pp": "--pipeline-parallel-size",
        "dp": "--data-parallel-size",
        "ctx": "--max-model-len",
        "memory": "--gpu-memory-utilization",
        "seqs": "--max-num-seqs",
        "tokens": "--max-num-batched-tokens",
        "ep": "--enable-expert-parallel",
        "eager": "--enforce-eager",
    },
    EngineName.SGLANG: {
        "tp": "--tp-size",
        "pp": "--pp-size",
        "dp": "--dp-size",
        "ctx": "--context-length",
        "memory": "--mem-fraction-static",
        "seqs": "--max-running-requests",
        "tokens": "--chunked-prefill-size",
        "ep": "--ep-size",
        "eager": "--disable-cuda-graph",
    },
}
_FP8_CACHES = ("fp8", "fp8_e4m3", "fp8_e5m2", "fp8_ds_mla")


@dataclass(frozen=True)
class Overrides:
    """What the user fixed. ``None`` is left to the planner. Lengths in tokens."""

    tensor_parallel_size: int | None = None
    pipeline_parallel_size: int | None = None
    data_parallel_size: int | None = None
    expert_parallel: bool | None = None
    max_model_len: int | None = None
    memory_fraction: float | None = None
    """``--gpu-memory-utilization`` or ``--mem-fraction-static``."""
    max_num_seqs: int | None = None
    max_num_batched_tokens: int | None = None
    eager: bool = False
    fp8_kv_cache: bool = False
    quantization: str | None = None
    dtype: str | None = None


def read_overrides(spec: EngineSpec, engine: Engine) -> tuple[Arguments, Overrides]:
    """Return ``engine.args`` parsed, and what they and ``engine.maxModelLen`` fix.

    Raises
    ------
    PlanInputError
        An argument is malformed, contradicts another or a field, belongs to the other engine, or is the operator's.
    """
    try:
        user = parse_arguments(spec.args, engine.aliases)
        _check_known(user, engine)
        if spec.image is None:  # what another release or its plugins know is not written down here
            _check_choices(user, engine)
        return user, _overrides(spec, user, engine.name)
    except ArgumentError as error:
        raise PlanInputError(_FIELD, error.value, str(error)) from None


def _check_known(user: Arguments, engine: Engine) -> None:
    for flag in user.flags:
        if flag in engine.reserved:
            raise PlanInputError(_FIELD, flag, f"is set by the operator; use {engine.reserved[flag]} instead")
        if flag in engine.foreign:
            raise PlanInputError(
                _FIELD, flag, f"is not a flag of {engine.name}; its name there is {engine.foreign[flag]}"
            )


def _check_choices(user: Arguments, engine: Engine) -> None:
    for flag, choices in engine.choices.items():
        values = user.flags.get(flag)
        if values is None:
            continue
        written = " ".join(values)
        # vLLM lowers the letters of these two, and of no others
        lowered = engine.name is EngineName.VLLM and flag in ("--quantization", "--load-format")
        if written in choices or (lowered and written.lower() in choices):
            continue
        hint = did_you_mean(closest(written, choices, most=1, cutoff=0.6))
        takes = f"{hint} {flag} takes {', '.join(choices)}".lstrip()
        why = f"is no value of {engine.name} {engine.version}; {takes}"
        raise PlanInputError(_FIELD, f"{flag} {written}".rstrip(), why)


def _overrides(spec: EngineSpec, user: Arguments, engine: EngineName) -> Overrides:
    flags = _FLAGS[engine]
    expert_parallel = user.get(flags["ep"]) not in ("no", "1") if flags["ep"] in user else None
    quantization = (user.get("--quantization") or "none").lower()
    return Overrides(
        tensor_parallel_size=_size(user, flags["tp"]),
        pipeline_parallel_size=_size(user, flags["pp"]),
        data_parallel_size=_size(user, flags["dp"]),
        expert_parallel=expert_parallel,
        max_model_len=_context(spec, user, flags["ctx"]),
        memory_fraction=user.fraction(flags["memory"]),
        max_num_seqs=_size(user, flags["seqs"]),
        max_num_batched_tokens=_size(user, flags["tokens"]),
        eager=flags["eager"] in user and user.get(flags["eager"]) != "no",
        fp8_kv_cache=user.get("--kv-cache-dtype") in _FP8_CACHES,
        quantization=None if quantization == "none" else quantization,
        dtype=user.get("--dtype"),
    )


def _size(user: Arguments, flag: str) -> int | None:
    number = user.integer(flag)
    if number is not None and number < 1:
        raise PlanInputError(_FIELD, f"{flag} {number}", "must be 1 or more")
    return number


def _context(spec: EngineSpec, user: Arguments, flag: str) -> int | None:
    if user.get(flag) in ("auto", "-1"):
        return spec.max_model_len
    number = _size(user, flag)
    if number is not None and spec.max_model_len is not None and number != spec.max_model_len:
        raise PlanInputError(
            _FIELD,
            f"{flag} {number}",
            f"contradicts engine.maxModelLen {spec.max_model_len}; keep one of them",
        )
    return number if number is not None else spec.max_model_len
