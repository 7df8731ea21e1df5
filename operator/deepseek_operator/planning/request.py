"""The spec in the form that the rest of the planner reads, checked for everything that no GPU could change."""

from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property

from deepseek_operator.api.places import Place
from deepseek_operator.api.similar import did_you_mean
from deepseek_operator.api.spec import (
    RESERVED_VARIABLES,
    CapacityType,
    DeepSeekDeploymentSpec,
    EngineName,
    EngineRuntime,
)
from deepseek_operator.catalog import Accelerator, Catalog, ModelInfo, parse_accelerator
from deepseek_operator.engines import ENGINES, Arguments, Engine, get_engine
from deepseek_operator.planning.errors import PlanInputError
from deepseek_operator.planning.forms import check_capacity, check_forms
from deepseek_operator.planning.layout import Layout
from deepseek_operator.planning.memory import weights_gib
from deepseek_operator.planning.overrides import Overrides, read_overrides
from deepseek_operator.planning.parallelism import layouts
from deepseek_operator.planning.workload import Workload

__all__ = ["EngineRequest", "Request", "read_request"]


@dataclass(frozen=True)
class EngineRequest:
    """One engine that may serve the model, with the user's arguments as it reads them."""

    engine: Engine
    arguments: Arguments
    overrides: Overrides


@dataclass(frozen=True)
class Request:
    """A checked spec."""

    spec: DeepSeekDeploymentSpec
    model: ModelInfo | None
    source: str
    """Hugging Face id or directory that the engine is told to serve."""
    served_names: tuple[str, ...]
    engines: dict[EngineName, EngineRequest]
    """Engines that may be used."""
    accelerators: tuple[Accelerator, ...] | None
    clouds: tuple[str, ...] | None
    """Clouds named in ``infra``; empty where only Kubernetes is, None where none is named at all."""
    kubernetes: bool
    """``infra`` names Kubernetes."""
    cap: Decimal | None
    """``maxHourlyCost`` of the whole deployment."""

    @property
    def cpu(self) -> bool:
        """Whether a CPU engine is asked for."""
        return self.accelerators == ()

    @property
    def only_kubernetes(self) -> bool:
        """Whether nothing can cost money."""
        return self.clouds == ()

    @property
    def demanding(self) -> bool:
        """Whether the objective asks for anything that a machine may lack."""
        objective = self.spec.objective
        return any(
            wanted is not None
            for wanted in (
                objective.concurrency,
                objective.min_tokens_per_second_per_request,
                objective.max_time_to_first_token_seconds,
            )
        )

    @property
    def base(self) -> int:
        """How many replicas are on demand whatever the others are."""
        return min(self.spec.resources.capacity.on_demand_base, self.spec.replicas)

    @property
    def spot(self) -> bool:
        """Whether spot prices count; a fallback to on-demand counts as on-demand."""
        return self.spec.resources.capacity_type is CapacityType.SPOT

    @cached_property
    def workloads(self) -> dict[EngineName, Workload]:
        """What the speed of every candidate depends on, by engine; nothing for an unknown model."""
        if self.model is None:
            return {}
        objective = self.spec.objective
        downloads = self.spec.model.path is None
        return {
            name: Workload(self.model, item.overrides, downloads, objective.concurrency, objective.ranking)
            for name, item in self.engines.items()
        }

    @cached_property
    def weights_gib(self) -> float:
        """GiB of the weights as the engine that needs least of them loads them; 0 for an unknown model."""
        if self.model is None:
            return 0.0
        return min(weights_gib(self.model, item.overrides) for item in self.engines.values())

    def layouts(self, item: EngineRequest, gpus: int, nodes: int, *, fast: bool) -> tuple[Layout, ...]:
        """Return the layouts worth trying, best first. They depend on the number of GPUs and not on their type."""
        key = (item.engine.name, gpus, nodes, fast)
        if key not in self._layouts:
            self._layouts[key] = layouts(self.model, gpus, nodes, item.engine.name, item.overrides, fast=fast)
        return self._layouts[key]

    @cached_property
    def _layouts(self) -> dict[tuple[EngineName, int, int, bool], tuple[Layout, ...]]:
        return {}

    def engine_order(self, nodes: int) -> tuple[EngineRequest, ...]:
        """Return the engines to try on this many nodes, the preferred one first."""
        return self._engines_alone if nodes == 1 else self._engines_together

    @cached_property
    def _engines_alone(self) -> tuple[EngineRequest, ...]:
        return self._preferring(EngineName.VLLM)

    @cached_property
    def _engines_together(self) -> tuple[EngineRequest, ...]:
        return self._preferring(EngineName.SGLANG)

    def _preferring(self, preferred: EngineName) -> tuple[EngineRequest, ...]:
        if self.model is not None and self.model.preferred_engine is not EngineName.AUTO:
            preferred = self.model.preferred_engine
        return tuple(sorted(self.engines.values(), key=lambda item: item.engine.name is not preferred))


def read_request(spec: DeepSeekDeploymentSpec, catalog: Catalog) -> Request:
    """Return the checked spec.

    Raises
    ------
    PlanInputError
        Something in it cannot be, whatever the machine.
    """
    check_forms(spec)
    model = catalog.find(spec.model.name)
    resources = spec.resources
    accelerators = None
    if resources.accelerators is not None:
        accelerators = tuple(dict.fromkeys(parse_accelerator(text) for text in resources.accelerators))
    if model is None and accelerators is None:
        hint = did_you_mean(catalog.similar_models(spec.model.name))
        raise PlanInputError(
            "model.name",
            spec.model.name,
            "is not in the catalog, so its size is unknown; set resources.accelerators, or use a model that "
            f"`deepseek-operator models` lists{'; ' if hint else ''}{hint}",
        )
    if spec.model.path is not None and spec.model.hugging_face_token_secret_ref is not None:
        raise PlanInputError(
            "model.huggingFaceTokenSecretRef",
            spec.model.hugging_face_token_secret_ref.name,
            f"is of no use with model.path {spec.model.path}: nothing is downloaded; remove one of the two",
        )
    _check_engine_env(spec)
    _check_objective(spec, model, cpu=accelerators == ())
    places = [Place.parse(text) for text in resources.infra]
    _check_runtime(spec, places, cpu=accelerators == ())
    check_capacity(spec.resources, places)
    clouds = tuple(dict.fromkeys(place.cloud for place in places if not place.is_kubernetes))
    return Request(
        spec=spec,
        model=model,
        source=spec.model.path or (model.id if model else spec.model.name),
        served_names=_served_names(spec, model),
        engines=_engines(spec, model, cpu=accelerators == ()),
        accelerators=accelerators,
        clouds=clouds if places else None,
        kubernetes=any(place.is_kubernetes for place in places),
        cap=Decimal(resources.max_hourly_cost) if resources.max_hourly_cost is not None else None,
    )


def _served_names(spec: DeepSeekDeploymentSpec, model: ModelInfo | None) -> tuple[str, ...]:
    """Return the names requests may use: as the user wrote it first, then theirs, then the real id."""
    real = (model.id,) if model is not None and spec.model.path is None else ()
    return tuple(dict.fromkeys((spec.model.name, *spec.model.served_names, *real)))


def _check_engine_env(spec: DeepSeekDeploymentSpec) -> None:
    for variable in spec.engine.env:
        if (variable.value is None) == (variable.value_from is None):
            raise PlanInputError("engine.env", variable.name, "needs exactly one of value and valueFrom")
        if variable.name.startswith(RESERVED_VARIABLES):
            why = f"is the operator's own, as all names that begin with {RESERVED_VARIABLES}; take another name"
            raise PlanInputError("engine.env", variable.name, why)
        if variable.name in ("HF_TOKEN", "VLLM_API_KEY", "SGLANG_API_KEY") and variable.value is not None:
            instead = "model.huggingFaceTokenSecretRef" if variable.name == "HF_TOKEN" else "endpoint.apiKeySecretRef"
            raise PlanInputError("engine.env", variable.name, f"is a secret; use {instead}, which never shows it")


def _check_runtime(spec: DeepSeekDeploymentSpec, places: list[Place], *, cpu: bool) -> None:
    if spec.engine.runtime is not EngineRuntime.PACKAGES:
        return
    if spec.engine.image is not None:
        raise PlanInputError("engine.image", spec.engine.image, "is of no use with engine.runtime Packages; remove one")
    why = ""
    if cpu:
        why = "installs an engine for NVIDIA GPUs; use Image, or set resources.accelerators"
    elif not places or any(place.is_kubernetes for place in places):
        why = "is for rented machines: pods start from an image; use Image, or name only clouds in resources.infra"
    if why:
        raise PlanInputError("engine.runtime", spec.engine.runtime.value, why)


def _check_objective(spec: DeepSeekDeploymentSpec, model: ModelInfo | None, *, cpu: bool) -> None:
    objective = spec.objective.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    if not objective or (model is not None and not cpu):
        return
    why = "a CPU engine" if cpu else f"{spec.model.name}, which is not in the catalog"
    field, value = next(iter(objective.items()))
    raise PlanInputError(f"objective.{field}", value, f"cannot be planned with: nothing is known of the speed of {why}")


def _engines(spec: DeepSeekDeploymentSpec, model: ModelInfo | None, *, cpu: bool) -> dict[EngineName, EngineRequest]:
    wanted = _wanted(spec, cpu=cpu)
    able = [name for name in wanted if model is None or name in model.engines]
    if not able:
        assert model is not None
        raise PlanInputError(
            "engine.name",
            spec.engine.name.value,
            f"{' and '.join(wanted)} cannot run {model.short_name}; {' or '.join(model.engines)} can",
        )
    requests: dict[EngineName, EngineRequest] = {}
    refusals: list[PlanInputError] = []
    for name in able:
        engine = get_engine(name)
        try:
            _check_version(spec, model, engine)
            _check_packages(spec, model, engine)
            arguments, overrides = read_overrides(spec.engine, engine)
            _check_context(spec, model, overrides, arguments)
            requests[name] = EngineRequest(engine, arguments, overrides)
        except PlanInputError as error:
            refusals.append(error)
    if not requests:
        raise refusals[0]
    return requests


def _wanted(spec: DeepSeekDeploymentSpec, *, cpu: bool) -> list[EngineName]:
    name = spec.engine.name
    if cpu and name is EngineName.SGLANG:
        raise PlanInputError(
            "engine.name",
            name.value,
            "needs a GPU in its released images; use VLLM or Auto, or set resources.accelerators",
        )
    if name is not EngineName.AUTO:
        return [name]
    if cpu:
        return [EngineName.VLLM]
    if spec.engine.image is not None:  # an image says which engine is in it, if its name does
        repository = spec.engine.image.rsplit("@", 1)[0].lower()
        named = [known for known in ENGINES if known.value.lower() in repository]
        if len(named) == 1:
            return named
    return list(ENGINES)


def _check_version(spec: DeepSeekDeploymentSpec, model: ModelInfo | None, engine: Engine) -> None:
    lowest = model.engines[engine.name].min_version if model else None
    image = spec.engine.image
    if lowest is None or image is None:
        return
    tag = image.partition("@")[0].rpartition("/")[2].partition(":")[2]
    numbers = _numbers(tag.lstrip("v").split("-")[0])
    if numbers is not None and numbers < tuple(int(part) for part in lowest.split(".")[:3]):
        assert model is not None
        raise PlanInputError(
            "engine.image",
            image,
            f"{model.short_name} needs {engine.name} {lowest} or newer; use {engine.image}, or leave it out",
        )


def _check_packages(spec: DeepSeekDeploymentSpec, model: ModelInfo | None, engine: Engine) -> None:
    image = model.engines[engine.name].image if model else None
    if spec.engine.runtime is EngineRuntime.PACKAGES and image is not None:
        assert model is not None
        why = f"holds {engine.name} {engine.version}, and {model.short_name} needs the image {image}; use Image"
        raise PlanInputError("engine.runtime", spec.engine.runtime.value, why)


def _numbers(tag: str) -> tuple[int, ...] | None:
    """Return the release that a tag names, if it is one: a single number is that of a build."""
    parts = tag.split(".")
    numbers = [int(part) for part in parts[:3] if part.isdigit()]
    return tuple(numbers) if len(parts) >= 2 and len(numbers) == len(parts[:3]) else None


def _check_context(
    spec: DeepSeekDeploymentSpec, model: ModelInfo | None, overrides: Overrides, arguments: Arguments
) -> None:
    wanted = overrides.max_model_len
    stretched = any(flag in arguments for flag in ("--hf-overrides", "--rope-scaling", "--json-model-override-args"))
    if model is None or wanted is None or wanted <= model.context_length or stretched:
        return
    field = "engine.maxModelLen" if spec.engine.max_model_len is not None else "engine.args"
    raise PlanInputError(
        field, wanted, f"is over the limit of {model.short_name}; use {model.context_length} or less, or leave it out"
    )
