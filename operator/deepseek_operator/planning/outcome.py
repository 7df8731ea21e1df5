"""What the planner says of a spec: it can be launched, or why not. There is nothing in between."""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Final

from deepseek_operator.api.places import Place
from deepseek_operator.api.reasons import Reason
from deepseek_operator.api.spec import DeepSeekDeploymentSpec, SecretKeyRef
from deepseek_operator.api.status import PlanStatus
from deepseek_operator.catalog import Catalog
from deepseek_operator.engines import get_engine
from deepseek_operator.facts.names import api_key_secret
from deepseek_operator.planning.errors import PlanInputError
from deepseek_operator.planning.planner import plan
from deepseek_operator.planning.result import Plan

__all__ = ["Planned", "Planner", "Refused"]

_REMEMBERED: Final = 4096
"""Plans that are kept. Planning costs up to 10 ms where the planner chooses the GPUs."""


@dataclass(frozen=True)
class Planned(Plan):
    """The plan of a spec that can be launched, with everything that a launch needs.

    Attributes
    ----------
    spec
        The spec, with the operator's default places where the user named none.
    """

    spec: DeepSeekDeploymentSpec = field(kw_only=True)

    @classmethod
    def of(cls, spec: DeepSeekDeploymentSpec, plan: Plan) -> "Planned":
        """Return a plan together with the spec that it is for."""
        return cls(**{own.name: getattr(plan, own.name) for own in fields(Plan)}, spec=spec)

    @property
    def retry(self) -> bool:
        """Whether a launch that failed is repeated."""
        return self.spec.resources.retry_until_up

    @property
    def provision_timeout_seconds(self) -> int:
        """How long one launch waits for nodes."""
        return self.spec.resources.provision_timeout_seconds

    @cached_property
    def places(self) -> tuple[Place, ...]:
        """Where replicas may run, in order of preference; never empty."""
        return tuple(Place.parse(text) for text in self.spec.resources.infra)

    @property
    def rents(self) -> bool:
        """Whether a replica may run on a rented machine."""
        return not self.places or not all(place.is_kubernetes for place in self.places)

    def own_api_key(self, name: str) -> SecretKeyRef | None:
        """Return where the operator keeps the key that machines of the deployment ``name`` ask for.

        None: the user gave one, or no machine asks for any.
        """
        if self.spec.endpoint.api_key_secret_ref is not None or not self.needs_api_key:
            return None
        return api_key_secret(name)

    @cached_property
    def secrets(self) -> Mapping[str, SecretKeyRef]:
        """What the user keeps in Secrets: the environment variables of a replica that come from there."""
        spec = self.spec
        found = {
            "HF_TOKEN": spec.model.hugging_face_token_secret_ref,
            get_engine(self.engine).api_key_variable: spec.endpoint.api_key_secret_ref,
        }
        found |= {each.name: each.value_from.secret_key_ref for each in spec.engine.env if each.value_from is not None}
        return {variable: secret for variable, secret in found.items() if secret is not None}

    @cached_property
    def status(self) -> PlanStatus:
        """The plan as it stands in ``status.plan``."""
        return self.to_status()


@dataclass(frozen=True)
class Refused:
    """A spec that cannot be launched.

    Attributes
    ----------
    message
        Names the field, its value, and what would work.
    plan
        What was planned nevertheless, for the status; None where nothing could be.
    """

    reason: Reason
    message: str
    plan: PlanStatus | None = None


class Planner:
    """Plans specs, each once.

    Parameters
    ----------
    default_infra
        Where replicas run whose spec names no place.
    kubernetes_context
        Context of the SkyPilot server in which replicas on Kubernetes run: the cluster of the deployments. None: the
        server's own cluster.
    """

    def __init__(
        self,
        catalog: Catalog,
        *,
        default_infra: tuple[str, ...] = ("kubernetes",),
        kubernetes_context: str | None = None,
    ) -> None:
        self._catalog, self._default, self._context = catalog, default_infra, kubernetes_context
        self._remembered: OrderedDict[str, Planned | Refused] = OrderedDict()
        self._of_object: OrderedDict[int, tuple[DeepSeekDeploymentSpec, Planned | Refused]] = OrderedDict()
        """By the identity of a spec, which is kept with it so that no other one can have it."""
        self.clouds: set[str] = set()
        """Clouds that specs have named, whose prices are worth asking for."""

    @property
    def catalog(self) -> Catalog:
        """Models, GPUs and prices."""
        return self._catalog

    @catalog.setter
    def catalog(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._remembered.clear()
        self._of_object.clear()

    def plan(self, spec: DeepSeekDeploymentSpec) -> Planned | Refused:
        """Return what a spec comes to; the same object for the same spec and catalog."""
        same = self._of_object.get(id(spec))
        if same is not None:
            return same[1]
        self._of_object[id(spec)] = spec, (found := self._plan_of_equal(spec))
        if len(self._of_object) > _REMEMBERED:
            self._of_object.popitem(last=False)
        return found

    def _plan_of_equal(self, spec: DeepSeekDeploymentSpec) -> Planned | Refused:
        key = spec.model_dump_json(exclude_defaults=True)
        known = self._remembered.get(key)
        if known is None:
            known = self._remembered[key] = self._plan(self._placed(spec))
            if len(self._remembered) > _REMEMBERED:
                self._remembered.popitem(last=False)
        return known

    def _placed(self, spec: DeepSeekDeploymentSpec) -> DeepSeekDeploymentSpec:
        if spec.resources.infra:
            return spec
        resources = spec.resources.model_copy(update={"infra": self._default})
        return spec.model_copy(update={"resources": resources})

    def _plan(self, spec: DeepSeekDeploymentSpec) -> Planned | Refused:
        places = [Place.parse(text) for text in spec.resources.infra]
        self.clouds |= {place.cloud for place in places if not place.is_kubernetes}
        if (refusal := self._refuse_context(places)) is not None:
            return refusal
        try:
            chosen = plan(spec, self._catalog)
        except PlanInputError as error:
            return Refused(Reason.INVALID_SPEC, str(error))
        if not chosen.launchable:
            return Refused(Reason.DOES_NOT_FIT, chosen.reason, chosen.to_status())
        return Planned.of(spec, chosen)

    def _refuse_context(self, places: list[Place]) -> Refused | None:
        """Refuse another Kubernetes cluster: the operator cannot see its pods, and would take them for lost."""
        for place in places:
            if place.context is not None and place.context != self._context:
                here = f" or kubernetes/{self._context}" if self._context else ""
                return Refused(
                    Reason.INVALID_SPEC,
                    f"spec.resources.infra: {place}: the operator cannot see pods of another cluster; use "
                    f"kubernetes{here}, and an operator of its own in that cluster",
                )
        return None
