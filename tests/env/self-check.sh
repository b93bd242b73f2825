#!/bin/bash
# Checks, by curl alone, that the environment does what the tests count on; run by `tests/run.sh --self-check`.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
. "$here/common.sh"

engine() { curl --silent --show-error --max-time 30 --unix-socket "$DOCKSIDE_TEST_ENGINE" "$@"; }
json() { engine --fail-with-body -H 'Content-Type: application/json' "$@"; }
passed() { say "ok   $*"; }

# pull REFERENCE [AUTH-JSON]: fails as the Engine's progress stream says.
pull() {
  local auth answer
  auth=$(printf '%s' "${2:-{\}}" | base64 -w0 | tr '+/' '-_')
  answer=$(engine -X POST -H "X-Registry-Auth: $auth" "http://engine/images/create?fromImage=${1%:*}&tag=${1##*:}")
  jq -es 'all(.[]; has("error") or has("message") | not)' <<<"$answer" >/dev/null || { say "$1: $answer"; return 1; }
}

# start NAME JSON: prints the id.
start() {
  local id
  id=$(json -d "$2" "http://engine/containers/create?name=$1" | jq -er .Id) || die "cannot create $1"
  json -X POST "http://engine/containers/$id/start" >&2 || die "cannot start $1"
  echo "$id"
}
remove() { engine --fail -X DELETE "http://engine/containers/$1?force=1&v=1"; }
inspect() { json "http://engine/containers/$1/json"; }
page() { curl --silent --max-time 3 "http://$1/" | grep -q '^dockside test page$'; }

registry=$DOCKSIDE_TEST_REGISTRY auth_registry=$DOCKSIDE_TEST_REGISTRY_AUTH

# An Engine that is not ours is left as it was found, also when a check fails.
tidy() {
  local thing
  for thing in check-pause check-web check-live; do engine -o /dev/null -X DELETE "http://engine/containers/$thing?force=1&v=1"; done
  engine -o /dev/null -X DELETE http://engine/networks/check
  for thing in $(jq -r '.references[]' "$here"/images/*.json); do
    engine -o /dev/null -X DELETE "http://engine/images/$registry/$thing?force=1"
  done
  engine -o /dev/null -X DELETE "http://engine/images/$auth_registry/busybox:1?force=1"
}
trap 'status=$?; tidy 2>/dev/null || true; exit $status' EXIT

for definition in "$here"/images/*.json; do
  for reference in $(jq -r '.references[]' "$definition"); do pull "$registry/$reference"; done
done
passed "all images come from $registry"

if pull "$auth_registry/busybox:1" 2>/dev/null; then die "$auth_registry gives images to anybody"; fi
credentials=$(jq -nc --arg u "$DOCKSIDE_TEST_REGISTRY_USER" --arg p "$DOCKSIDE_TEST_REGISTRY_PASSWORD" --arg s "$auth_registry" \
  '{username: $u, password: $p, serveraddress: $s}')
encoded=$(printf '%s' "$credentials" | base64 -w0)
case $encoded in *+*) ;; *) die "the credentials have no + in base64: $encoded" ;; esac
case $encoded in */*) ;; *) die "the credentials have no / in base64: $encoded" ;; esac
pull "$auth_registry/busybox:1" "$credentials"
passed "$auth_registry asks for a password and takes the one given"
if pull "$DOCKSIDE_TEST_REGISTRY_DOWN/busybox:1" 2>/dev/null; then die "$DOCKSIDE_TEST_REGISTRY_DOWN serves images"; fi
passed "nothing answers at $DOCKSIDE_TEST_REGISTRY_DOWN"

id=$(start check-pause "{\"Image\": \"$DOCKSIDE_TEST_PAUSE\", \"HostConfig\": {\"NetworkMode\": \"none\"}}")
pid=$(inspect "$id" | jq -e .State.Pid)
[ "$(cat "/proc/$pid/comm")" = pause ] || die "process $pid is not the pause program"
[ "$(readlink "/proc/$pid/ns/net")" != "$(readlink /proc/self/ns/net)" ] || die "the pause container has no network namespace of its own"
[ "$DOCKSIDE_TEST_ENGINE_NAME" = socket ] || grep -q ":.*$DOCKSIDE_TEST_CGROUP/$id\$" "/proc/$pid/cgroup" ||
  die "the control group is not below $DOCKSIDE_TEST_CGROUP: $(cat "/proc/$pid/cgroup")"
engine --fail -X POST "http://engine/containers/$id/stop?t=5"
[ "$(inspect "$id" | jq .State.ExitCode)" = 0 ] || die "the pause program did not end by itself"
remove "$id"
passed "a container without network: pause, its control group, its end"

json -d '{"Name": "check", "Driver": "bridge", "Options": {"com.docker.network.bridge.name": "br-check"}}' \
  http://engine/networks/create >/dev/null
id=$(start check-web "{\"Image\": \"$registry/web:1\",
  \"HostConfig\": {\"NetworkMode\": \"check\", \"PortBindings\": {\"80/tcp\": [{\"HostPort\": \"18080\"}]}}}")
address=$(inspect "$id" | jq -er .NetworkSettings.Networks.check.IPAddress)
await 10 page "$address:80" || die "the web server does not answer at $address:80"
passed "a container on a bridge answers at its address ($address)"
await 10 page 127.0.0.1:18080 || die "the published port does not answer on 127.0.0.1"
passed "its published port answers on 127.0.0.1"
# Not by way of docker-proxy on loopback, but by the packet filter's rules.
own=$(ip -4 -o addr show dev br-check | awk '{sub("/.*", "", $4); print $4}')
await 10 page "$own:18080" || die "the published port does not answer on $own"
iptables -t nat -S DOCKER | grep -q -- '--dport 18080 .*DNAT' || die "no DNAT rule for port 18080: $(iptables -t nat -S)"
passed "and on $own, with a rule in the packet filter ($(iptables --version | sed 's/.*(\(.*\))/\1/'))"
remove "$id"
engine --fail -X DELETE http://engine/networks/check

for plugin in bridge host-local portmap loopback firewall tuning; do
  [ -x "$DOCKSIDE_TEST_CNI_BIN/$plugin" ] || die "no CNI plugin $plugin in $DOCKSIDE_TEST_CNI_BIN"
done
netns=check-$$
ip netns add $netns
CNI_COMMAND=ADD CNI_CONTAINERID=check CNI_NETNS=/run/netns/$netns CNI_IFNAME=eth0 CNI_PATH=$DOCKSIDE_TEST_CNI_BIN \
  "$DOCKSIDE_TEST_CNI_BIN/bridge" <<'JSON' | jq -e '.ips[0].address' >/dev/null
{"cniVersion": "0.4.0", "name": "check", "type": "bridge", "bridge": "cni-check", "isGateway": true,
 "ipMasq": true, "ipam": {"type": "host-local", "subnet": "10.99.0.0/24"}}
JSON
# The gateway is in this namespace, the pod's address in the other: both directions of the pair carry packets.
nsenter --net=/run/netns/$netns ip link set lo up
"$DOCKSIDE_TEST_BUSYBOX" ping -c 1 -W 2 10.99.0.2 >/dev/null || die "the pod at 10.99.0.2 does not answer"
ip netns delete $netns
ip link delete cni-check
passed "the CNI bridge plugin makes a pod network"

"$DOCKSIDE_TEST_PYTHON" -c 'import grpc'
passed "gRPC for Python"

if [ "$DOCKSIDE_TEST_ENGINE_NAME" != socket ]; then
  before=$(cat "$DOCKSIDE_TEST_ENGINE_PID")
  "$DOCKSIDE_TEST_DIR/engine-stop"
  if engine http://engine/_ping 2>/dev/null; then die "the Engine answers after engine-stop"; fi
  "$DOCKSIDE_TEST_DIR/engine-start" --live-restore
  id=$(start check-live "{\"Image\": \"$DOCKSIDE_TEST_PAUSE\", \"HostConfig\": {\"NetworkMode\": \"none\"}}")
  "$DOCKSIDE_TEST_DIR/engine-kill"
  "$DOCKSIDE_TEST_DIR/engine-start" --live-restore
  [ "$(cat "$DOCKSIDE_TEST_ENGINE_PID")" != "$before" ] || die "the Engine was not restarted"
  inspect "$id" | jq -e .State.Running >/dev/null || die "the container did not outlive the Engine"
  remove "$id"
  passed "the Engine stops, starts, dies and comes back with its containers"
fi
