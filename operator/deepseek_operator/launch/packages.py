"""The engine from Python packages: how a rented machine without its container image gets it, once.

SkyPilot's provisioning puts uv on every machine. It brings a Python of its own, so that what the machine's image has
does not matter; the NVIDIA driver comes with the image.
"""

import shlex

from deepseek_operator.engines import Engine

__all__ = ["setup_script", "with_packages"]

_PYTHON = "3.12"

_SETUP = """\
# Installs the engine; a machine that has it already keeps it.
set -eu
uv="$(command -v uv || echo "$HOME/.local/bin/uv")"
environment={environment}
[ -x "$environment/bin/python" ] || "$uv" venv --quiet --python {python} "$environment"
"$uv" pip install --quiet --python "$environment" --torch-backend=auto {packages}
"""


def setup_script(engine: Engine) -> str:
    """Return the ``setup`` of a task: the engine's packages, in an environment of their own."""
    packages = " ".join(shlex.quote(package) for package in engine.packages)
    return _SETUP.format(environment=_environment(engine), python=_PYTHON, packages=packages)


def with_packages(engine: Engine, run: str) -> str:
    """Return a ``run`` script that finds the programs of the installed packages first."""
    return f'export PATH={_environment(engine)[:-1]}/bin:$PATH"\n{run}'


def _environment(engine: Engine) -> str:
    return f'"$HOME/deepseek-operator/{engine.name.value.lower()}-{engine.version}"'
