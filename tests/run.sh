#!/bin/bash
# Runs every test of the workspace beside a real Docker Engine that belongs to this run alone.
#
#   tests/run.sh [--engine distribution|trixie|forky|forky-containerd|SOCKET] [--keep] [--self-check] [FILTER...]
#   tests/run.sh [--engine …] [--keep] --bench NAME [-- OPTION...]
#   tests/run.sh [--engine …] --down
#
#   --engine      whose Engine: this distribution's (the default), that Debian suite's, with -containerd behind it
#                 the same with containerd's image store, or the one that already answers on the unix socket SOCKET
#   --keep        leave the environment up afterwards and say how to enter it; the next run ends it
#   --down        only end what --keep has left
#   --self-check  check the environment itself, by curl alone, instead of running cargo's tests
#   --bench       run a benchmark (tests/bench) of the release build instead of the tests
#   FILTER        names of tests, as after `cargo test --`; one that no test's name contains is an error
#
# Needs root, cargo, and Debian or Ubuntu with apt; fetches the rest. The Engine and the tests live in network,
# mount and PID namespaces of their own with an own /run, so neither can reach an Engine, a containerd, a firewall
# daemon or a bridge of the host, and when the namespaces' first process ends nothing of them is left.
# With SOCKET the tests run in the host's namespaces, beside that Engine.
#
# Read from the environment: CARGO, CARGO_TARGET_DIR, DOCKSIDE_TEST_THREADS (4), DOCKSIDE_DEBIAN_MIRROR.
# tests/env/README.md lists what the tests are given.
set -euo pipefail

root=$(cd "$(dirname "$(readlink -f "$0")")/.." && pwd)
here=$root/tests/env
. "$here/common.sh"

engine=distribution keep=no down=no self_check=no bench= filters=()
while [ $# -gt 0 ]; do
  case $1 in
    --engine) [ $# -ge 2 ] || die "--engine needs a value"; engine=$2; shift ;;
    --engine=*) engine=${1#*=} ;;
    --keep) keep=yes ;;
    --down) down=yes ;;
    --self-check) self_check=yes ;;
    --bench) [ $# -ge 2 ] || die "--bench needs a value"; bench=$2; shift ;;
    --bench=*) bench=${1#*=} ;;
    -h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"; exit 0 ;;
    --) shift; filters+=("$@"); break ;;
    -*) die "unknown option $1 (see --help)" ;;
    *) filters+=("$1") ;;
  esac
  shift
done
case $engine in
  distribution | trixie | forky | forky-containerd) name=$engine ;;
  /*) [ -S "$engine" ] || die "--engine $engine is not a unix socket"; name=socket ;;
  *) die "--engine $engine is none of distribution, trixie, forky, forky-containerd or the absolute path of a socket" ;;
esac
[ "$(id -u)" = 0 ] || die "must be run as root: it makes namespaces and runs an Engine"
cargo=${CARGO:-cargo}
command -v "$cargo" >/dev/null || die "cargo is not in PATH"

cd "$root"
target=${CARGO_TARGET_DIR:-$root/target}
cache=$target/test-env/cache
dir=$target/test-env/$name
mkdir -p "$cache" "$dir"
# Two runs may share the machine, never a directory.
exec 9>"$dir/lock"
flock --nonblock 9 || die "another run uses $dir; wait for it, or take another --engine"

# Control groups are the host's: the name tells this directory from that of another checkout.
cgroup=/dockside-test-$(stat -c %i "$dir")

# Ends an environment: killing its first process makes the kernel kill every other one, then mounts, network
# and interfaces go with the namespaces. Only directories are left to remove.
end_environment() {
  local pid
  pid=$(holder_pid "$dir") || pid=
  if [ -n "$pid" ]; then
    kill -KILL "$pid" 2>/dev/null || true
    wait_gone "$pid" || say "process $pid of the environment does not go away"
  fi
  if [ "$name" = socket ]; then end_registries "$dir"; fi
  remove_cgroups "$cgroup"
  # The logs stay: they say what went wrong.
  find "$dir" -mindepth 1 -maxdepth 1 ! -name lock ! -name logs -exec rm -rf {} +
}

tests=
finish() {
  local status=$?
  trap - EXIT INT TERM HUP
  if [ -n "$tests" ]; then kill "$tests" 2>/dev/null || true; fi
  if [ "$keep" = yes ] && [ -e "$dir/ready" ]; then
    say "kept: enter with  $here/enter $dir COMMAND  (tests/run.sh --engine $engine --down  ends it)"
  else
    end_environment
  fi
  exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP

[ "$down" = no ] || exit 0

step "tools"
(
  flock 8
  "$here/packages.sh" "$cache" "${name%-containerd}"
  "$here/images.sh" "$cache"
) 8>"$cache/lock" 9>&-

if [ -n "$bench" ]; then
  step "build"
  "$cargo" bench --no-run --locked --bench "$bench" 9>&-
elif [ "$self_check" = no ]; then
  step "build"
  "$cargo" test --no-run --workspace --locked 9>&-
fi

step "environment"
end_environment
rm -rf "$dir/logs"
mkdir -p "$dir/data" "$dir/registry" "$dir/scratch" "$dir/logs"
export DOCKSIDE_TEST_DIR=$dir DOCKSIDE_TEST_CGROUP=$cgroup
if [ "$name" = socket ]; then
  "$here/inside.sh" "$cache" "$name" "$engine" 9>&-
else
  holder=(unshare --fork --kill-child --net --mount --pid --mount-proc
    "$here/inside.sh" "$cache" "$name" /run/dockside-test/engine.sock)
  # Without --keep the environment must not outlive this script, however that dies.
  [ "$keep" = yes ] || holder=(setpriv --pdeathsig KILL "${holder[@]}")
  setsid "${holder[@]}" >"$dir/logs/environment.log" 2>&1 </dev/null 9>&- &
  echo $! >"$dir/holder"
fi
for ((i = 0; i < 600; i++)); do
  [ ! -e "$dir/ready" ] || break
  [ "$name" = socket ] || kill -0 "$(cat "$dir/holder")" 2>/dev/null || break
  sleep 0.1
done
if [ ! -e "$dir/ready" ]; then
  tail -n 20 "$dir/logs/environment.log" "$dir/logs/engine.log" >&2 2>/dev/null || true
  die "the environment did not come up; logs are in $dir/logs"
fi
say "$(cat "$dir/ready")"

if [ "$self_check" = yes ]; then
  command=("$here/self-check.sh")
  step "self-check"
elif [ -n "$bench" ]; then
  command=("$cargo" bench --offline --locked --bench "$bench" -- "${filters[@]}")
  step "benchmark"
else
  command=("$cargo" test --workspace --offline --locked --no-fail-fast --
    --test-threads="${DOCKSIDE_TEST_THREADS:-4}" "${filters[@]}")
  step "test"
fi
# cargo finds nothing wrong with a filter that matches nothing. With options among them they cannot be told apart.
wanted=()
if [ -z "$bench" ] && [ "$self_check" = no ] && [[ " ${filters[*]}" != *" -"* ]]; then wanted=("${filters[@]}"); fi
exec 7>&1
if [ ${#wanted[@]} -gt 0 ]; then exec 7>"$dir/logs/tests.log"; fi
# In the background, because a shell acts on signals only while it waits.
"$here/enter" "$dir" "${command[@]}" >&7 7>&- 9>&- &
tests=$!
exec 7>&-
shown=
if [ ${#wanted[@]} -gt 0 ]; then
  tail -n +1 -f --pid="$tests" "$dir/logs/tests.log" 9>&- &
  shown=$!
fi
wait "$tests" && status=0 || status=$?
tests=
if [ -n "$shown" ]; then wait "$shown" || true; fi
for filter in "${wanted[@]}"; do
  count=$(sed -n 's/^test \(.*\) \.\.\. .*/\1/p' "$dir/logs/tests.log" | grep -cF -e "$filter") || true
  if [ "$count" -gt 0 ]; then say "$count tests have $filter in their names"; continue; fi
  say "no test's name contains $filter"
  [ "$status" != 0 ] || status=1
done
exit "$status"
