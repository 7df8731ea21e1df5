"""The page of models and GPUs that the catalog knows."""

from deepseek_operator.catalog import load_catalog

__all__ = ["page"]

_HEAD = """# Models and GPUs

What can be named in `spec.model.name` and in `spec.resources.accelerators`; `deepseek-operator models` and
`deepseek-operator gpus` print the same, and with `-o json` every figure with its source. Other models need
`resources.accelerators`; other GPUs, and your own prices, come from a [catalog of your
own](../planning.md#the-catalog).
"""


def page() -> str:
    """Return the page as Markdown."""
    catalog = load_catalog()
    lines = [_HEAD, "## Models", "", "| model | aliases | parameters, 10^9 | weights, GiB | number format | context |"]
    lines.append("|---|---|---:|---:|---|---:|")
    for model in catalog.models.values():
        aliases = ", ".join(f"`{alias}`" for alias in model.aliases if "/" not in alias) or "-"
        lines.append(
            f"| `{model.id}` | {aliases} | {model.parameters / 1e9:.1f} | {model.weights.gib:.1f} | "
            f"{model.weights.dtype.value} | {model.context_length:,} |"
        )
    lines += ["", "## GPUs", "", "| GPU | memory, GiB | in a machine |", "|---|---:|---|"]
    for gpu in catalog.gpus.values():
        counts = ", ".join(map(str, gpu.counts)) or "-"
        lines.append(f"| `{gpu.name}` | {gpu.memory_gib:.1f} | {counts} |")
    return "\n".join([*lines, ""])
