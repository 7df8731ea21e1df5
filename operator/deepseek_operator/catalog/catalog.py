"""The catalog in memory: look-ups by name, and prices."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import cached_property

from deepseek_operator.api.similar import closest
from deepseek_operator.catalog.schema import Accelerator, GpuInfo, MachineInfo, ModelInfo, PriceInfo

__all__ = ["Catalog"]


@dataclass(frozen=True)
class Catalog:
    """Models, GPUs, machine types and prices by name. Immutable; safe to share."""

    models: Mapping[str, ModelInfo]
    gpus: Mapping[str, GpuInfo]
    prices: tuple[PriceInfo, ...] = field(default=())
    machines: Mapping[str, MachineInfo] = field(default_factory=dict)
    """Machine types with a fast network, by ``cloud/instanceType``."""

    @cached_property
    def _names(self) -> dict[str, ModelInfo]:
        names: dict[str, ModelInfo] = {}
        for model in self.models.values():
            names.setdefault(model.short_name.lower(), model)
        for model in self.models.values():
            for alias in model.aliases:
                names.setdefault(alias.rsplit("/", 1)[-1].lower(), model)
        for model in self.models.values():
            names.update({alias.lower(): model for alias in model.aliases})
        for model in self.models.values():
            names[model.id.lower()] = model
        return names

    @cached_property
    def _gpu_names(self) -> dict[str, GpuInfo]:
        return {gpu.name.lower(): gpu for gpu in self.gpus.values()}

    @cached_property
    def _prices_by_accelerators(self) -> dict[str, tuple[PriceInfo, ...]]:
        rows: dict[str, list[PriceInfo]] = {}
        for price in self.prices:
            rows.setdefault(price.accelerators.lower(), []).append(price)
        return {key: tuple(value) for key, value in rows.items()}

    @cached_property
    def sold(self) -> tuple[tuple[Accelerator, GpuInfo], ...]:
        """Every number of every GPU that clouds sell in one machine, the smallest of each first."""
        return tuple(
            (Accelerator(name=gpu.name, count=n), gpu) for gpu in self.gpus.values() for n in sorted(gpu.counts)
        )

    @cached_property
    def parts(self) -> tuple[tuple[Accelerator, GpuInfo], ...]:
        """Every GPU alone, and twice as many again and again up to the largest machine that clouds sell."""
        doubled = ((gpu, 1 << power) for gpu in self.gpus.values() for power in range(max(gpu.counts).bit_length()))
        return tuple((Accelerator(name=gpu.name, count=count), gpu) for gpu, count in doubled)

    @cached_property
    def _cheapest(self) -> dict[tuple[str, bool, tuple[str, ...] | None], PriceInfo | None]:
        return {}

    @cached_property
    def _worth(self) -> dict[str, Decimal | None]:
        return {}

    def find(self, name: str) -> ModelInfo | None:
        """Return the model with this Hugging Face id, id without organisation, or alias; case does not matter."""
        return self._names.get(name.lower())

    def find_gpu(self, name: str) -> GpuInfo | None:
        """Return the GPU with this SkyPilot name; case does not matter, as in SkyPilot."""
        return self._gpu_names.get(name.lower())

    def machine(self, cloud: str, instance_type: str) -> MachineInfo | None:
        """Return what is known of a machine type's network; None: nothing, so plain Ethernet."""
        return self.machines.get(f"{cloud}/{instance_type}")

    def similar_models(self, name: str) -> tuple[str, ...]:
        """Return up to three ids that look like ``name``, best first."""
        matches = closest(name, self._names, most=6, cutoff=0.6)
        return tuple(dict.fromkeys(self._names[match].id for match in matches))[:3]

    def similar_gpus(self, name: str) -> tuple[str, ...]:
        """Return up to three GPU names that look like ``name``, best first."""
        return closest(name, (gpu.name for gpu in self.gpus.values()), most=3)

    def prices_of(self, accelerator: Accelerator, clouds: Iterable[str] | None = None) -> tuple[PriceInfo, ...]:
        """Return the prices of machines with exactly these GPUs.

        Parameters
        ----------
        accelerator
            Name and number of GPUs of one machine.
        clouds
            Only these clouds, by SkyPilot's lower-case names; None for all.
        """
        rows = self._prices_by_accelerators.get(str(accelerator).lower(), ())
        if clouds is None:
            return rows
        wanted = frozenset(clouds)
        return tuple(row for row in rows if row.cloud in wanted)

    def cheapest(
        self, accelerator: Accelerator, *, spot: bool, clouds: Iterable[str] | None = None
    ) -> PriceInfo | None:
        """Return the cheapest machine with these GPUs, on demand or as spot, or None where no price is known.

        Each answer is looked up once: a plan asks for every machine, and the next one for the same.
        """
        key = (str(accelerator), spot, tuple(clouds) if clouds is not None else None)
        if key not in self._cheapest:
            self._cheapest[key] = self._look_up_cheapest(accelerator, spot, key[2])
        return self._cheapest[key]

    def worth(self, accelerator: Accelerator) -> Decimal | None:
        """Return US dollars an hour that clouds take for such GPUs: for a machine, or as a share of a larger one."""
        key = str(accelerator)
        if key not in self._worth:
            found = self.find_gpu(accelerator.name)
            larger = (one for one, gpu in self.sold if gpu is found and one.count >= accelerator.count)
            prices = ((one.count, self.cheapest(one, spot=False)) for one in larger)
            shares = [price.on_demand * accelerator.count / n for n, price in prices if price and price.on_demand]
            self._worth[key] = shares[0] if shares else None
        return self._worth[key]

    def _look_up_cheapest(
        self, accelerator: Accelerator, spot: bool, clouds: tuple[str, ...] | None
    ) -> PriceInfo | None:
        def amount(row: PriceInfo) -> Decimal | None:
            return row.spot if spot else row.on_demand

        priced = [(value, row) for row in self.prices_of(accelerator, clouds) if (value := amount(row)) is not None]
        return min(priced, key=lambda pair: (pair[0], pair[1].cloud, pair[1].instance_type))[1] if priced else None

    def with_prices(self, prices: Iterable[PriceInfo]) -> "Catalog":
        """Return a copy with these prices instead of its own, for instance those of a live SkyPilot catalog."""
        return replace(self, prices=tuple(prices))
