#!/bin/bash
# What the machine runs at each boot, from the payload disk: prepares the node at the first, runs that boot's tests,
# then reboots, or writes the journal to the third disk and powers off. The line "vm-tests: STATUS" is the outcome.
set -uo pipefail
state=/var/lib/vm-tests
mkdir -p $state
boot=$(cat $state/boot 2>/dev/null || echo 0)
echo $((boot + 1)) >$state/boot
# The next start may come after a loss of power, and must not take this one for itself.
sync

finish() {
  echo "vm-tests: $1"
  journalctl --no-pager --quiet --output=short-precise | gzip -1 >/dev/vdc
  sync
  systemctl poweroff --force --force
  sleep infinity
}

prepare() {
  # Pods reach the registry on loopback, and each other; nothing else is there.
  mkdir -p /etc/cni/net.d $state/registry
  cp /payload/net.conflist /etc/cni/net.d/10-node.conflist
  cp -a /payload/storage/. $state/registry/
  cp /payload/registry.service /etc/systemd/system/
  fallocate -l 256M /swap && chmod 600 /swap && mkswap -q /swap && echo '/swap none swap sw 0 0' >>/etc/fstab
  swapon -a
  systemctl daemon-reload
  systemctl enable --now registry.service
}

echo "vm-tests: boot $boot, up for $(cut -d' ' -f1 /proc/uptime) s"
if [ "$boot" = 0 ]; then
  prepare || finish 1
  echo "vm-tests: prepared, up for $(cut -d' ' -f1 /proc/uptime) s"
fi
# It starts at the same time as this script.
for ((i = 0; i < 300; i++)); do
  if (: >/dev/tcp/127.0.0.1/5000) 2>/dev/null; then break; fi
  sleep 0.3
done
. /payload/env
# shellcheck disable=SC2046 # these are words
/payload/vm-tests "$boot" $(cat /payload/filter)
case $? in
  0) finish 0 ;;
  100) systemctl reboot ;;
  101) echo b >/proc/sysrq-trigger ;;
  *) finish 1 ;;
esac
