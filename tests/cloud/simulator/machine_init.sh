#!/bin/bash
# First process of a simulated machine: mounts its root, waits for its network, starts sshd, reaps.
# In the environment: IMAGES TREE FOLDER NAME PRIVATE PUBLIC GATEWAY OUTSIDE SSHD, set by machine.py.
set -euo pipefail
root=$FOLDER/mount
mount -t overlay overlay -o "lowerdir=$TREE,upperdir=$FOLDER/upper,workdir=$FOLDER/work" "$root"
hostname "$NAME"
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
# Without one, crun does not start, although it is told to make no groups.
mount -t cgroup2 -o ro cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for device in null zero full random urandom tty fuse; do
    [ -e "/dev/$device" ] || continue
    touch "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts "$root/dev/pts"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
ln -s /proc/self/fd/0 "$root/dev/stdin"
ln -s /proc/self/fd/1 "$root/dev/stdout"
ln -s /proc/self/fd/2 "$root/dev/stderr"
# Containers: an overlay cannot carry another one, so theirs lie beside this one; the images are shared.
mkdir -p "$root/var/lib/containers" "$root/var/lib/images"
mount --bind "$FOLDER/containers" "$root/var/lib/containers"
mount --bind "$IMAGES" "$root/var/lib/images"
mount -o remount,bind,ro "$root/var/lib/images"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mkdir -p "$root/run/sshd"

ip link set lo up
for _ in $(seq 200); do
    if ip link show eth0 > /dev/null 2>&1; then break; fi
    sleep 0.05
done
ip address add "$PRIVATE/12" dev eth0
# EC2 translates the public address; here the machine has it itself.
ip address add "$PUBLIC" dev eth0
ip link set eth0 up
ip route add 169.254.169.254/32 dev eth0 src "$PRIVATE"
for network in $OUTSIDE; do
    ip route add "$network" via "$GATEWAY" dev eth0 src "${PUBLIC%/*}"
done

mkdir -p "$root/.old"
cd "$root"
pivot_root . .old
cd /
umount -l /.old
rmdir /.old 2> /dev/null || true
if [ -n "$SSHD" ]; then /usr/sbin/sshd; fi
trap : CHLD
while :; do
    sleep 3600 &
    wait $! || true
done
