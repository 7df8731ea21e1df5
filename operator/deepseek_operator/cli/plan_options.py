"""The options of ``deepseek-operator plan``: how each is written, and what its help says."""

from pathlib import Path
from typing import Annotated

import typer

from deepseek_operator.api import spec
from deepseek_operator.cli.plan_output import PlanFormat

File = Annotated[
    str | None,
    typer.Option("-f", "--file", metavar="FILE", help="YAML with DeepSeekDeployments; - reads standard input."),
]
Model = Annotated[str | None, typer.Option(metavar="MODEL", help="Hugging Face id or alias, instead of a file.")]
Accelerators = Annotated[
    list[str] | None,
    typer.Option(metavar="GPU:COUNT", help="GPUs of one node, such as L4:1; may be repeated. Unset: planned."),
]
Nodes = Annotated[int | None, typer.Option(min=1, max=64, help="Nodes of one replica. Unset: planned.")]
Replicas = Annotated[int | None, typer.Option(min=0, max=100, help="Number of replicas.")]
Engine = Annotated[spec.EngineName | None, typer.Option(help="Auto, VLLM or SGLang.")]
MaxModelLen = Annotated[int | None, typer.Option(min=1, help="Longest context in tokens. Unset: planned.")]
Infra = Annotated[
    list[str] | None,
    typer.Option(metavar="PLACE", help="Where replicas may run, such as aws/us-east-1; may be repeated."),
]
CapacityType = Annotated[spec.CapacityType | None, typer.Option(help="OnDemand, Spot or SpotThenOnDemand.")]
MaxHourlyCost = Annotated[
    str | None,
    typer.Option(metavar="DOLLARS", help="Most that all replicas together may cost in US dollars an hour."),
]
Interconnect = Annotated[
    spec.Interconnect | None, typer.Option(help="Network between nodes: Auto, or Fast for InfiniBand and the like.")
]
MinTokensPerSecond = Annotated[
    float | None, typer.Option(metavar="NUMBER", help="Fewest output tokens a second of each request.")
]
MaxTimeToFirstToken = Annotated[
    float | None,
    typer.Option(metavar="SECONDS", help="Longest time to the first token of a 2,000-token prompt."),
]
Concurrency = Annotated[int | None, typer.Option(help="Requests that one replica works on at once.")]
Ranking = Annotated[spec.Ranking | None, typer.Option(help="LowestHourlyCost or LowestCostPerToken.")]
Arg = Annotated[
    list[str] | None,
    typer.Option(metavar="FLAG", help="Argument of the engine, such as --arg=--enforce-eager; may be repeated."),
]
Output = Annotated[PlanFormat, typer.Option("-o", "--output", help="table, json, yaml or task.")]
Skypilot = Annotated[
    str | None,
    typer.Option(metavar="URL", help="SkyPilot API server: show its places and prices, and why not the others."),
]
SkypilotTokenFile = Annotated[
    Path | None, typer.Option(metavar="FILE", help="File with a service-account token of that server.")
]
