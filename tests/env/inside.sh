#!/bin/bash
# inside.sh CACHE NAME SOCKET: brings the environment up in the namespaces that it finds itself in, then holds them.
#
# With NAME `socket` the Engine is somebody else's and the namespaces are the host's: then this only starts the
# registries, and returns. In either case $DOCKSIDE_TEST_DIR/env is complete when $DOCKSIDE_TEST_DIR/ready appears.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
. "$here/common.sh"
cache=$1 name=$2 socket=$3 dir=$DOCKSIDE_TEST_DIR

# Everything here talks to loopback and to unix sockets.
unset http_proxy https_proxy all_proxy no_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY NO_PROXY
unset DOCKER_HOST DOCKER_CONTEXT DOCKER_TLS_VERIFY DOCKER_CERT_PATH DOCKER_API_VERSION

own_namespaces() {
  # Mounts must not reach the host, and yet propagate in here as they do on a node that systemd has booted.
  mount --make-rprivate /
  mount --make-rshared /
  # An own /run hides the sockets by which an Engine or a plugin would use or change the host: containerd, firewalld
  # over D-Bus, systemd, another Engine. It also keeps network namespaces pinned in /run/netns apart.
  local resolv
  resolv=$(cat /etc/resolv.conf 2>/dev/null || true)
  mount -t tmpfs -o mode=755,nosuid,nodev tmpfs /run
  mkdir -p /run/lock /run/netns /run/dockside-test
  if [ -L /etc/resolv.conf ] && [ ! -e /etc/resolv.conf ]; then
    mkdir -p "$(dirname "$(readlink -m /etc/resolv.conf)")"
    printf '%s\n' "$resolv" >"$(readlink -m /etc/resolv.conf)"
  fi
  # The Engine's keys and certificates, the caches and address leases of CNI.
  local place
  for place in /etc/docker /etc/cni /var/lib/cni; do
    mkdir -p "$place"
    mount -t tmpfs -o mode=755,nosuid,nodev tmpfs "$place"
  done
  ip link set lo up
}

# The registry's user. The base64 form of the password holds `+` and `/`, which the Engine wants as `-` and `_`.
user=tester password='a?>~~~???é'

write_env() {
  local bin
  if [ "$name" = socket ] || [ "$name" = distribution ]; then bin=distribution; else bin=${name%-containerd}; fi
  local values=(
    DOCKSIDE_TEST_DIR="$dir"
    DOCKSIDE_TEST_CGROUP="$DOCKSIDE_TEST_CGROUP"
    DOCKSIDE_TEST_ENGINE="$socket"
    DOCKSIDE_TEST_ENGINE_NAME="$name"
    DOCKSIDE_TEST_ENGINE_BIN="$cache/$bin"
    DOCKSIDE_TEST_ENGINE_PID=/run/dockside-test/engine.pid
    DOCKSIDE_TEST_REGISTRY=127.0.0.1:5000
    DOCKSIDE_TEST_REGISTRY_AUTH=127.0.0.1:5001
    DOCKSIDE_TEST_REGISTRY_USER="$user"
    DOCKSIDE_TEST_REGISTRY_PASSWORD="$password"
    DOCKSIDE_TEST_REGISTRY_DOWN=127.0.0.1:5009
    DOCKSIDE_TEST_PAUSE=127.0.0.1:5000/pause:3.10
    DOCKSIDE_TEST_CNI_BIN="$cache/distribution/usr/lib/cni"
    DOCKSIDE_TEST_BUSYBOX="$cache/images/busybox"
    DOCKSIDE_TEST_PYTHON=/usr/bin/python3
  ) value
  for value in "${values[@]}"; do printf 'export %s=%q\n' "${value%%=*}" "${value#*=}"; done
  echo 'unset http_proxy https_proxy all_proxy no_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY NO_PROXY'
  echo 'unset DOCKER_HOST DOCKER_CONTEXT DOCKER_TLS_VERIFY DOCKER_CERT_PATH DOCKER_API_VERSION'
}

# Tests change the state of the Engine by these.
write_commands() {
  local action
  for action in start stop kill; do
    if [ "$name" = socket ]; then
      printf '#!/bin/sh\necho "the Engine at %s is not of this environment: no test may %s it" >&2\nexit 1\n' \
        "$socket" $action
    else
      printf '#!/bin/bash\n. %q\nexec %q %s "$@"\n' "$dir/env" "$here/engine.sh" $action
    fi >"$dir/engine-$action"
    chmod +x "$dir/engine-$action"
  done
}

# registry NAME PORT YAML: one more registry over the run's copy of the images.
registry() {
  if curl -s "http://127.0.0.1:$2/v2/" >/dev/null; then die "port $2 of 127.0.0.1 is taken"; fi
  cat >"$dir/registry-$1.yml" <<YAML
version: 0.1
log: {level: warn}
http: {addr: "127.0.0.1:$2"}
$3
YAML
  setsid "$cache/distribution/usr/bin/docker-registry" serve "$dir/registry-$1.yml" \
    >"$dir/logs/registry-$1.log" 2>&1 </dev/null &
  echo $! >"$dir/registry-$1.pid"
  await 10 curl -s "http://127.0.0.1:$2/v2/" || die "registry $1 does not answer: $(tail -n 5 "$dir/logs/registry-$1.log")"
}

[ "$name" = socket ] || own_namespaces
write_env >"$dir/env"
write_commands

cp -a "$cache/images/storage/." "$dir/registry/"
registry open 5000 "storage: {filesystem: {rootdirectory: \"$dir/registry\"}, delete: {enabled: true}}"
registry auth 5001 "storage: {filesystem: {rootdirectory: \"$dir/registry\"}, maintenance: {readonly: {enabled: true}}}
auth: {htpasswd: {realm: dockside-test, path: \"$here/registry.htpasswd\"}}"

[ "$name" = socket ] || "$dir/engine-start"
version=$(curl --fail --silent --max-time 10 --unix-socket "$socket" http://engine/version) || die "no Engine answers on $socket"
info=$(curl --fail --silent --max-time 10 --unix-socket "$socket" http://engine/info)
# Made whole, then named: run.sh waits for the name.
jq -rn --argjson v "$version" --argjson i "$info" \
  '"Engine \($v.Version), API \($v.ApiVersion), \($i.Driver), cgroup v\($i.CgroupVersion) by \($i.CgroupDriver)"' >"$dir/ready.new"
mv "$dir/ready.new" "$dir/ready"

# As the first process of its PID namespace this shell holds all of it, and waits for every orphan.
[ "$name" = socket ] || while :; do sleep 3600 & wait $!; done
