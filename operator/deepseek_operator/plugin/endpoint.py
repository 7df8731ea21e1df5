"""``kubectl deepseek endpoint``: where a model answers."""

import argparse
from typing import Final

from deepseek_operator.plugin.objects import read_deployment
from deepseek_operator.plugin.options import NAME, Command, Options, kubectl_of, output_option
from deepseek_operator.plugin.screen import print_json, say

__all__ = ["COMMAND"]


def _run(options: Options) -> int:
    deployment = read_deployment(kubectl_of(options).deployment(options.name))
    url = deployment.internal_url if options.internal else deployment.endpoint
    answers = url is not None and deployment.ready > 0
    if options.output == "json":
        print_json(
            {
                "url": deployment.url,
                "internalURL": deployment.internal_url,
                "readyReplicas": deployment.ready,
                "models": list(deployment.models),
                "apiKeySecretRef": deployment.api_key,
            }
        )
    elif url is not None:
        print(url)
    if not answers:
        what = "has no endpoint yet" if url is None else "does not answer"
        why = f"{deployment.reason}: {deployment.message}" if deployment.reason else "no operator has looked at it"
        say(f"{deployment.name} {what}: {why}")
    return 0 if answers else 1


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar=NAME, help="the deployment")
    parser.add_argument(
        "--internal", action="store_true", help="the address inside the cluster, even if another exists"
    )
    output_option(parser)


COMMAND: Final = Command(
    name="endpoint",
    description="""
Prints the base URL of the OpenAI API that a deployment serves, and nothing else: the address from outside the cluster
if its Service has one, else the one from inside.

If no replica answers, standard error says why and the exit status is 1; the address is printed all the same where there
is one, because it will stay.
""",
    examples=(
        ("curl $(kubectl deepseek endpoint r1)/models", "ask the model's server, from where the address leads"),
        ("kubectl deepseek endpoint r1 -o json", "with the names of the model and the Secret of its API key"),
    ),
    arguments=_arguments,
    run=_run,
    exits=("0  at least one replica answers", "1  none does, or not found, or kubectl failed", "2  wrong command line"),
)
