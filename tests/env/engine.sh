#!/bin/bash
# engine.sh start [DOCKERD-OPTION...] | stop | kill: the Engine of the environment that $DOCKSIDE_TEST_DIR/env names.
#
# `start` returns when the Engine answers, `stop` when it has ended (it stops its containers unless it was started with
# --live-restore), `kill` ends it as a crash would. Tests call these as $DOCKSIDE_TEST_DIR/engine-start and so on.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
. "$here/common.sh"
run=/run/dockside-test dir=$DOCKSIDE_TEST_DIR socket=$DOCKSIDE_TEST_ENGINE pid_file=$DOCKSIDE_TEST_ENGINE_PID
bin=$DOCKSIDE_TEST_ENGINE_BIN
action=${1:-}
[ $# -eq 0 ] || shift

answers() { curl --fail --silent --max-time 2 --unix-socket "$socket" http://engine/_ping; }

start() {
  local path=$bin/usr/sbin:$bin/usr/bin:/usr/sbin:/usr/bin:/sbin:/bin
  # A file of its own, or dockerd would read the host's /etc/docker/daemon.json.
  case $DOCKSIDE_TEST_ENGINE_NAME in
    *-containerd) echo '{"features": {"containerd-snapshotter": true}}' ;;
    *) echo '{}' ;;
  esac >"$run/daemon.json"
  # No default bridge: nothing here uses one. The cgroupfs driver: systemd's would ask the host's systemd for scopes,
  # naming processes by numbers of another namespace. The storage driver is dockerd's own choice.
  # The init is the distribution's static one: that of a newer suite is linked to a newer libc.
  PATH=$path setsid dockerd --host "unix://$socket" --config-file "$run/daemon.json" --data-root "$dir/data" \
    --exec-root "$run/exec" --pidfile "$pid_file" --bridge none --exec-opt native.cgroupdriver=cgroupfs \
    --cgroup-parent "$DOCKSIDE_TEST_CGROUP" --init-path "$(dirname "$bin")/distribution/usr/bin/tini-static" --shutdown-timeout 5 "$@" \
    >>"$dir/logs/engine.log" 2>&1 </dev/null &
  local pid=$!
  for ((i = 0; i < 300; i++)); do
    ! answers >/dev/null || return 0
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.1
  done
  kill -KILL "$pid" 2>/dev/null || true
  die "dockerd does not answer: $(tail -n 5 "$dir/logs/engine.log")"
}

# end SIGNAL
end() {
  local pid
  pid=$(cat "$pid_file" 2>/dev/null) || die "no Engine is running"
  kill "-$1" "$pid"
  wait_gone "$pid" || die "the Engine (process $pid) does not end within 20 s of SIG$1"
  rm -f "$pid_file"
}

case $action in
  start) start "$@" ;;
  stop) end TERM ;;
  kill) end KILL ;;
  *) die "usage: engine.sh start [DOCKERD-OPTION...] | stop | kill" ;;
esac
