#!/bin/bash
# image.sh CACHE SECURITY: the disk of the virtual machine, its kernel and its initial RAM disk; prints the folder they are in.
#
# A Debian 12 with systemd (and so cgroup v2), the distribution's Engine (which takes the systemd cgroup driver there)
# and the CNI plugins. It holds nothing of dockside: that comes on a disk of its own (run.sh), so that the image is
# made once for each list of packages. The kernel is given to the machine from outside; there is no boot loader.
# SECURITY is what confines its containers: apparmor or selinux.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
. "$here/../env/common.sh"
cache=$1 security=$2

packages=(
  linux-image-cloud-amd64 systemd systemd-sysv dbus udev kmod procps iproute2 iptables
  docker.io containernetworking-plugins
)
case $security in
  apparmor) packages+=(apparmor) ;;
  # With what its modules for containers are made of.
  selinux) packages+=(selinux-policy-default selinux-policy-dev selinux-policy-src zstd) ;;
  *) die "nothing is known of $security: it is apparmor or selinux" ;;
esac
suite=bookworm

[ "$(dpkg --print-architecture)" = amd64 ] || die "the virtual machine is an x86-64 one: this host is $(dpkg --print-architecture)"
key=$(cat "$here/image.sh" "$here"/image/* | sha256sum | cut -c1-16)
image=$cache/$key
[ ! -e "$image/complete" ] || { echo "$image"; exit 0; }

say "making the disk of the virtual machine"
rm -rf "$cache"/*
mkdir -p "$image/root"
trap 'rm -rf "$image"' EXIT
# Without lists apt cannot tell which of its sources is Debian's.
mirror=$(debian_mirror 2>/dev/null) || { apt-get -q update >/dev/null; mirror=$(debian_mirror); }
mmdebstrap --quiet --variant=minbase --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
  --include="$(IFS=,; echo "${packages[*]}")" "$suite" - "$mirror" | tar -C "$image/root" -xf -

root=$image/root
echo node >"$root/etc/hostname"
echo '127.0.0.1 localhost node' >"$root/etc/hosts"
# Nobody logs in, nothing is updated, and no address is waited for.
for unit in serial-getty@ttyS0.service getty@tty1.service apt-daily.timer apt-daily-upgrade.timer \
  dpkg-db-backup.timer e2scrub_all.timer fstrim.timer systemd-timesyncd.service systemd-networkd-wait-online.service; do
  ln -sf /dev/null "$root/etc/systemd/system/$unit"
done
mkdir -p "$root/etc/docker"
cp "$here/image/daemon.json" "$root/etc/docker/"
cp "$here/image/payload.service" "$root/etc/systemd/system/"
mkdir -p "$root/etc/systemd/system/multi-user.target.wants" "$root/payload" "$root/var/log/journal"
ln -s ../payload.service "$root/etc/systemd/system/multi-user.target.wants/"
mv "$root"/boot/vmlinuz-* "$image/vmlinuz"
mv "$root"/boot/initrd.img-* "$image/initrd"
rm -f "$root/vmlinuz" "$root/initrd.img"
if [ "$security" = selinux ]; then
  cp "$here/image/engine.cil" "$root/root/"
  # In a mount namespace of its own, so that nothing stays mounted.
  unshare --mount bash -c 'mount --bind /proc "$1/proc" && exec chroot "$1" bash -s' - "$root" <"$here/image/selinux.sh"
fi

truncate -s 6G "$image/disk"
mkfs.ext4 -q -F -E lazy_itable_init=1 -d "$root" "$image/disk"
rm -rf "$root"
touch "$image/complete"
trap - EXIT
echo "$image"
