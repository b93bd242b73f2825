#!/bin/bash
# Tests dockside on a booted Debian node in a virtual machine: systemd, cgroup v2, the systemd cgroup driver,
# restarts of the Engine and of the machine, the package.
#
#   tests/vm/run.sh [SCENARIO...]
#
#   SCENARIO   run only scenarios whose names contain one of these; measurements (`fifty_pods`) run only so
#
# Needs root, cargo, and Debian 12 on x86-64 with apt; fetches the rest. The processor is emulated, so no KVM is needed,
# and everything is 10 to 20 times slower than outside. The machine has no network and leaves nothing on the host
# but target/vm: `console.log`, `results.log` and `journal.log` of the last run, and `cache/`, the disk image.
#
# Read from the environment: CARGO, CARGO_TARGET_DIR, DOCKSIDE_DEBIAN_MIRROR, DOCKSIDE_PROFILE (dev: how cargo
# builds), DOCKSIDE_VM_MINUTES (40), after which the machine is ended, DOCKSIDE_VM_PACKAGE, a package to be tested
# in place of one that is built, DOCKSIDE_VM_SECURITY (apparmor, or selinux: what confines containers; each has a disk
# image of its own), DOCKSIDE_VM_EXTRA, a folder that the machine is to have as /payload/extra, and
# DOCKSIDE_VM_POLLING (2), for how many minutes `fifty_pods` polls.
set -euo pipefail

root=$(cd "$(dirname "$(readlink -f "$0")")/../.." && pwd)
here=$root/tests/vm
. "$root/tests/env/common.sh"

filters=()
for word in "$@"; do
  case $word in
    -h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"; exit 0 ;;
    -*) die "unknown option $word (see --help)" ;;
    *) filters+=("$word") ;;
  esac
done
[ "$(id -u)" = 0 ] || die "must be run as root: it makes a Debian root"
cargo=${CARGO:-cargo}
command -v "$cargo" >/dev/null || die "cargo is not in PATH"

cd "$root"
target=${CARGO_TARGET_DIR:-$root/target}
dir=$target/vm shared=$target/test-env/cache
mkdir -p "$dir" "$shared"
dir=$(readlink -f "$dir")
exec 9>"$dir/lock"
flock --nonblock 9 || die "another run uses $dir"

step "tools"
missing=()
for pair in qemu-system-x86_64:qemu-system-x86 mmdebstrap:mmdebstrap mkfs.ext4:e2fsprogs; do
  command -v "${pair%%:*}" >/dev/null || missing+=("${pair#*:}")
done
if [ ${#missing[@]} -gt 0 ]; then
  say "installing ${missing[*]}"
  { apt-get -q update && DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-install-recommends "${missing[@]}"; } \
    >"$dir/apt.log" 2>&1 || { tail -n 15 "$dir/apt.log" >&2; die "cannot install ${missing[*]}"; }
fi
(
  flock 8
  "$root/tests/env/packages.sh" "$shared" distribution
  "$root/tests/env/images.sh" "$shared"
) 8>"$shared/lock" 9>&-

step "disk image"
security=${DOCKSIDE_VM_SECURITY:-apparmor} cache=$dir/cache kernel=audit=0
if [ "$security" = selinux ]; then
  # Without audit=0 the journal tells what was refused.
  cache=$dir/cache-selinux kernel=security=selinux
fi
mkdir -p "$cache"
image=$("$here/image.sh" "$cache" "$security" 9>&-)

step "build"
profile=${DOCKSIDE_PROFILE:-dev}
crates=(-p vm-tests)
[ -n "${DOCKSIDE_VM_PACKAGE:-}" ] || crates+=(-p dockside)
"$cargo" build --locked --profile "$profile" "${crates[@]}" 9>&-
built=$target/${profile/#dev/debug}
"$built/vm-tests" check "${filters[@]}" || die "nothing is booted"

step "payload"
payload=$dir/payload
rm -rf "$payload"
mkdir -p "$payload"
cp -a "$shared/images/storage" "$payload/storage"
cp "$shared/distribution/usr/bin/docker-registry" "$payload/"
strip -o "$payload/vm-tests" "$built/vm-tests"
if [ -n "${DOCKSIDE_VM_PACKAGE:-}" ]; then
  cp "$DOCKSIDE_VM_PACKAGE" "$payload/dockside.deb"
else
  strip -o "$dir/dockside" "$built/dockside"
  "$root/deploy/package.sh" --binary "$dir/dockside" "$payload/dockside.deb" >/dev/null
  rm -f "$dir/dockside"
fi
say "the package has $(stat -c %s "$payload/dockside.deb") bytes"
cp "$here/guest.sh" "$payload/start"
cp "$here"/guest/* "$payload/"
echo "export DOCKSIDE_VM_POLLING=${DOCKSIDE_VM_POLLING:-2}" >>"$payload/env"
echo "${filters[*]}" >"$payload/filter"
[ -z "${DOCKSIDE_VM_EXTRA:-}" ] || cp -a "$DOCKSIDE_VM_EXTRA" "$payload/extra"
rm -f "$dir/payload.img" "$dir/journal.gz"
truncate -s $(($(du -sm "$payload" | cut -f1) + 64))M "$dir/payload.img"
mkfs.ext4 -q -F -O ^has_journal -d "$payload" "$dir/payload.img"
truncate -s 64M "$dir/journal.gz"

step "machine"
rm -f "$dir"/{console,results,journal}.log
# The second serial line carries the results. What is written to the system disk is forgotten at the end, not at a reboot.
timeout --foreground --kill-after=10 "${DOCKSIDE_VM_MINUTES:-40}m" qemu-system-x86_64 \
  -accel tcg,thread=multi,tb-size=512 -cpu max -smp 2 -m 4G -nodefaults -display none -nic none \
  -kernel "$image/vmlinuz" -initrd "$image/initrd" \
  -append "console=ttyS0 root=/dev/vda rw quiet net.ifnames=0 systemd.show_status=0 hugepages=4 panic=-1 mitigations=off tsc=reliable $kernel" \
  -drive "file=$image/disk,format=raw,if=virtio,snapshot=on,cache=unsafe" \
  -drive "file=$dir/payload.img,format=raw,if=virtio,readonly=on" \
  -drive "file=$dir/journal.gz,format=raw,if=virtio" \
  -serial "file:$dir/console.log" -serial stdio </dev/null 9>&- | sed -u 's/\r$//' | tee "$dir/results.log" || true
zcat "$dir/journal.gz" >"$dir/journal.log" 2>/dev/null || true
rm -f "$dir/journal.gz" "$dir/payload.img"
outcome=$(sed -n 's/^vm-tests: \([0-9]*\)$/\1/p' "$dir/results.log" | head -n 1)
if [ -z "$outcome" ]; then
  tail -n 30 "$dir/console.log" >&2
  die "the machine came to no result; see $dir/*.log"
fi
step "over"
exit "$outcome"
