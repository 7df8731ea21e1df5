#!/bin/bash
# Turns a minimal Debian tree into what a cloud's machine image is to SkyPilot: everything that its provisioning looks
# for is there, so that it downloads nothing. Usage: build.sh TREE UV ENGINE ENGINE_VERSION; pinned versions in the
# environment.
set -euo pipefail
tree=$1 uv=$2 engine=$3 engine_version=$4
here=$(cd "$(dirname "$0")" && pwd)

# The build reaches the package registries as this machine does.
cp -L /etc/resolv.conf "$tree/etc/resolv.conf"
mkdir -p "$tree/etc/ssl/certs"
cp -L /etc/ssl/certs/ca-certificates.crt "$tree/etc/ssl/certs/ca-certificates.crt"
# In a mount namespace of the caller's: both go away with it.
mount -t proc proc "$tree/proc"
mount --rbind /dev "$tree/dev"

chroot "$tree" apt-get -qq update
DEBIAN_FRONTEND=noninteractive chroot "$tree" apt-get -qq install --yes --no-install-recommends \
    ca-certificates crun curl fuse g++ gcc iproute2 jq libc6-dev lsof netcat-openbsd openssh-server patch pciutils \
    podman procps python3 python3-dev python3-venv rsync socat sudo wget > /dev/null
rm -rf "$tree"/var/lib/apt/lists/* "$tree"/var/cache/apt/*.bin
cp -L /etc/ssl/certs/ca-certificates.crt "$tree/etc/ssl/certs/ca-certificates.crt"

# SkyPilot's user on AWS.
chroot "$tree" useradd --create-home --shell /bin/bash --uid 1000 ubuntu
echo 'ubuntu ALL=(ALL) NOPASSWD:ALL' > "$tree/etc/sudoers.d/90-ubuntu"
install -D --mode=0755 "$uv" "$tree/home/ubuntu/.local/bin/uv"

# No systemd runs on these machines; SkyPilot's provisioning restarts and stops services that are not there.
printf '#!/bin/sh\nexit 0\n' > "$tree/usr/local/bin/systemctl"
chmod 0755 "$tree/usr/local/bin/systemctl"
# The cloud's own images have Docker; here podman answers to its name, see the scripts.
install -D --mode=0755 "$here/docker" "$tree/usr/local/bin/docker"
install -D --mode=0644 "$here/containers.conf" "$tree/etc/containers/containers.conf"
install -D --mode=0644 "$here/storage.conf" "$tree/etc/containers/storage.conf"
# SkyPilot raises limits in limits.conf. Where root itself may not (no CAP_SYS_RESOURCE), the next login would be refused.
sed -i -E 's/^(session\s+)required(\s+pam_(limits|loginuid)\.so)/\1optional\2/' "$tree"/etc/pam.d/*

cat > "$tree/tmp/runtime.sh" <<EOS
set -euo pipefail
cd ~
# What SkyPilot's wheel asks for on this cloud: the extras of the clouds that the server has enabled.
uv venv --quiet --seed --python /usr/bin/python3 ~/skypilot-runtime
uv pip install --quiet --python ~/skypilot-runtime 'setuptools<70' 'click<8.2' "ray[default]==$RAY_VERSION" \\
    "pydantic-core==$PYDANTIC_CORE_VERSION" "skypilot[aws,kubernetes,remote]==$SKYPILOT_VERSION"
uv venv --quiet --seed --relocatable --system-site-packages --python /usr/bin/python3 ~/sky-user-env
# The stand-in of the engine's package, where spec.engine.runtime: Packages installs it.
uv venv --quiet --python /usr/bin/python3 ~/deepseek-operator/vllm-$engine_version
uv pip install --quiet --python ~/deepseek-operator/vllm-$engine_version hatchling
uv pip install --quiet --python ~/deepseek-operator/vllm-$engine_version --no-build-isolation /tmp/engine
# From here on uv takes what is installed for the answer.
mkdir -p ~/.config/uv
echo 'offline = true' > ~/.config/uv/uv.toml
EOS
mkdir "$tree/tmp/engine"
cp "$here/engine.toml" "$tree/tmp/engine/pyproject.toml"
install --mode=0755 "$engine" "$tree/tmp/engine/program"
sed -i "s/^version = .*/version = \"$engine_version\"/" "$tree/tmp/engine/pyproject.toml"
chroot "$tree" chown -R ubuntu:ubuntu /home/ubuntu /tmp/engine
chroot "$tree" su ubuntu -c "env PATH=/home/ubuntu/.local/bin:/usr/bin:/bin UV_SYSTEM_CERTS=1 UV_LINK_MODE=copy \
    UV_COMPILE_BYTECODE=1 UV_CACHE_DIR=/tmp/uv-cache bash /tmp/runtime.sh"
rm -rf "$tree"/tmp/* "$tree/etc/resolv.conf"
touch "$tree/etc/resolv.conf"
