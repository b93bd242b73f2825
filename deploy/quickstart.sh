#!/bin/bash
# From nothing to a pod that serves a page, on one machine, with nothing but Docker and dockside.
#
#   deploy/quickstart.sh [--keep] [--host-port PORT] [IMAGE [-- COMMAND...]]
#   deploy/quickstart.sh --remove DIR
#
#   IMAGE        a web server's image to run, such as nginx:alpine; without it, or where no registry can be reached,
#                a small one is made here from busybox
#   COMMAND      what is run in the container once it serves (cat /etc/hostname)
#   --host-port  the port of 127.0.0.1 that leads to the web server; one that is free unless given
#   --keep       leave all of it running, and say how to go on
#   --remove     remove what --keep has left
#
# Needs root and cargo; without Docker also Debian or Ubuntu. Uses the Engine that answers on /var/run/docker.sock or
# on DOCKER_HOST, if that is a unix socket. If none answers it starts one of its own, which shares neither data nor
# sockets nor packet filter rules with another. Removes at the end what it made and stops what it started; a
# package that it installed stays.
#
# Read from the environment: CARGO, DOCKSIDE_PROFILE (release: how cargo builds), DOCKER_HOST, TMPDIR.
set -euo pipefail
root=$(cd "$(dirname "$(readlink -f "$0")")/.." && pwd)

say() { printf '%s\n' "$*"; }
step() { printf '\n== %s (%s s)\n' "$*" "$SECONDS"; }
shown() { printf '  $ %s\n' "$*"; }
die() { printf 'quickstart: %s\n' "$*" >&2; exit 1; }

keep=no remove= host_port= image= command=(cat /etc/hostname)
while [ $# -gt 0 ]; do
  case $1 in
    --keep) keep=yes ;;
    --host-port) [ $# -ge 2 ] || die "--host-port needs a port"; host_port=$2; shift ;;
    --host-port=*) host_port=${1#*=} ;;
    --remove) [ $# -ge 2 ] || die "--remove needs a directory"; remove=$2; shift ;;
    --remove=*) remove=${1#*=} ;;
    -h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"; exit 0 ;;
    --) shift; [ $# -eq 0 ] || command=("$@"); break ;;
    -*) die "unknown option $1 (see --help)" ;;
    *) [ -z "$image" ] || die "more than one image: $image and $1"; image=$1 ;;
  esac
  shift
done
[ "$(id -u)" = 0 ] || die "must be run as root: it runs an Engine and makes pods"
case $host_port in
  *[!0-9]* | ??????*) die "--host-port $host_port is not a port" ;;
  ?*) ((10#$host_port >= 1 && 10#$host_port <= 65535)) || die "--host-port $host_port is not a port" ;;
esac

# What there is to undo; with --keep it is written to $work/state.
work= run= client= daemon= engine_process= containerd_process= cgroup=
made_images=() pulled_images=() network_mine=no etc_docker=present installed=no
# The command under way, and whether it must be waited for when this script is told to end.
child= child_patient=no

# patient COMMAND... | interruptible COMMAND...: in the background, because a shell acts on signals only while it waits;
# in a session of its own, so that a terminal's Ctrl-C comes to this script alone, and it ends all of the command.
# Output is redirected by a shell in between: around these functions it would take that of the clean-up along.
patient() {
  local status=0
  child_patient=yes
  interruptible "$@" || status=$?
  child_patient=no
  return $status
}
interruptible() {
  local status=0
  setsid "$@" &
  child=$!
  wait "$child" || status=$?
  child=
  return $status
}

# end NAME PID: by SIGTERM; by SIGKILL what does not end within 20 s. A process that is not our child may have to be
# ended too (--remove), so there is nothing to wait for but its absence. A number may belong to somebody else by now.
end() {
  local tenth
  is "$1" "$2" || return 0
  kill "$2" 2>/dev/null || return 0
  for ((tenth = 0; tenth < 200; tenth++)); do
    is "$1" "$2" || return 0
    sleep 0.1
  done
  say "  process $2 ($1) does not end: killing it"
  kill -KILL "$2" 2>/dev/null || true
}
# Whether process $2 runs program $1; one that has ended and is not waited for yet has no command line.
is() { [ -n "$2" ] && tr '\0' ' ' 2>/dev/null <"/proc/$2/cmdline" | grep -q "$1.*$work"; }

has_link() { grep -q "^ *$1:" /proc/net/dev; }

# Undoes in reverse what has been done, as far as it can.
undo() {
  local left=no image containers
  # An Engine of our own that has died is removed with all its containers, without asking anybody.
  [ -z "$engine_process" ] || is dockerd "$engine_process" || { end dockside "$daemon"; daemon=; }
  if [ -n "$daemon" ] && is dockside "$daemon"; then
    timeout 120 "$client" --endpoint "unix://$work/cri.sock" remove --run "$run" || left=yes
    for image in "${pulled_images[@]}"; do
      timeout 120 "$client" --endpoint "unix://$work/cri.sock" remove-image "$image" || left=yes
    done
  fi
  end dockside "$daemon"
  if engine_answers; then
    # Whatever dockside could not remove, if it has died.
    containers=$(timeout 30 docker ps --all --quiet --filter "label=io.dockside.quickstart=$run" || true)
    # shellcheck disable=SC2086 # one word for each container
    [ -z "$containers" ] || timeout 120 docker rm --force --volumes $containers >/dev/null || left=yes
    # Not if somebody else's pod came in meanwhile: then the Engine refuses.
    if [ "$network_mine" = yes ] && docker network inspect dockside >/dev/null 2>&1; then
      shown "docker network rm dockside"
      timeout 30 docker network rm dockside >/dev/null || left=yes
    fi
    for image in "${made_images[@]}" "${pulled_images[@]}"; do
      docker image inspect "$image" >/dev/null 2>&1 || continue
      shown "docker image rm $image"
      timeout 60 docker image rm "$image" >/dev/null || left=yes
    done
  elif [ -n "$run" ] && [ -n "$daemon" ] && [ -z "$engine_process" ]; then
    say "  the Engine does not answer: its containers with the label io.dockside.quickstart=$run are left"
    left=yes
  fi
  end dockerd "$engine_process"
  end containerd "$containerd_process"
  remove_engine_files || left=yes
  [ "$left" = no ]
}

# What an Engine of our own leaves outside of its processes.
remove_engine_files() {
  local tenth shim pid mount
  [ -n "$cgroup" ] || return 0
  # Containers and their shims outlive an Engine that was killed.
  for shim in /proc/[0-9]*; do
    shim=${shim#/proc/}
    is containerd-shim "$shim" || continue
    for pid in $(cat "/proc/$shim"/task/*/children 2>/dev/null) "$shim"; do kill -KILL "$pid" 2>/dev/null || true; done
  done
  while read -r _ mount _; do
    case $mount in "$work"/*) umount --lazy "$mount" || true ;; esac
  done < <(tac /proc/mounts)
  for ((tenth = 0; tenth < 50; tenth++)); do
    find /sys/fs/cgroup -depth -type d -path "*/$cgroup*" -exec rmdir {} + 2>/dev/null || true
    [ -n "$(find /sys/fs/cgroup -type d -name "$cgroup*" 2>/dev/null)" ] || break
    sleep 0.1
  done
  # Engines up to 24 keep a key outside of their data directory.
  case $etc_docker in
    absent) rm -f /etc/docker/key.json; rmdir /etc/docker 2>/dev/null || true ;;
    keyless) rm -f /etc/docker/key.json ;;
  esac
  # Only if the Engine has died.
  if [ "$network_mine" = yes ] && has_link dockside0; then
    ip link delete dockside0 || { say "  the bridge dockside0 is left"; return 1; }
  fi
}

# Runs on every way out.
cleanup() {
  local status=$?
  trap - EXIT
  trap '' INT TERM HUP
  if [ -n "$child" ]; then
    if [ $child_patient = yes ]; then
      say "waiting for the package manager to end"
    else
      kill -- "-$child" 2>/dev/null || true
    fi
    wait "$child" 2>/dev/null || true
  fi
  if [ -n "$work" ]; then
    if [ $status != 0 ]; then
      tell_logs
      [ $status -lt 128 ] || say "interrupted"
    fi
    step "Clean-up: what this run made and started"
    if undo; then
      rm -rf "$work"
      say "  all removed"
      if [ "$installed" = yes ] && command -v dockerd >/dev/null; then say "  the Engine stays installed (apt-get remove docker.io removes it)"; fi
    else
      say "  not all could be removed; see above, and the logs in $work"
      [ $status != 0 ] || status=1
    fi
  fi
  if [ $status = 0 ]; then
    printf '\n== Done in %s s\n' "$SECONDS"
  else
    printf '\nquickstart: failed after %s s\n' "$SECONDS" >&2
  fi
  exit $status
}

# The last words of the processes that should still run, or of dockside in any case.
tell_logs() {
  local log
  for log in containerd dockerd dockside; do
    [ -s "$work/$log.log" ] || continue
    case $log in
      dockside) ! is dockside "$daemon" || continue; say "dockside has ended; the end of its log:" ;;
      dockerd) ! is dockerd "$engine_process" || continue; say "dockerd has ended; the end of its log:" ;;
      containerd) ! is containerd "$containerd_process" || continue; say "containerd has ended; the end of its log:" ;;
    esac
    tail -n 5 "$work/$log.log" | sed 's/^/  | /'
  done
}

apt_updated=
# apt ARGUMENT...: apt-get, quiet unless it fails. Not to be ended half way: dpkg would be left in pieces.
apt() {
  DEBIAN_FRONTEND=noninteractive patient bash -c 'exec "$@" >"$0" 2>&1 </dev/null' "$work/apt.log" apt-get -q -y "$@" || {
    tail -n 15 "$work/apt.log" >&2
    die "apt-get $* failed"
  }
}
has_package() { apt-cache show "$1" >/dev/null 2>&1; }
apt_update() {
  command -v apt-get >/dev/null || die "$1 is missing, and without apt-get it cannot be installed from here"
  [ -n "$apt_updated" ] || apt update
  apt_updated=yes
}

# install COMMAND PACKAGE... [-- PACKAGE...]: if the command is missing, the first of these packages that the
# distribution has, with those after `--`.
install() {
  local command=$1 package packages=(); shift
  ! command -v "$command" >/dev/null || return 0
  apt_update "$command"
  while [ $# -gt 0 ] && [ "$1" != -- ]; do
    package=$1; shift
    [ ${#packages[@]} -eq 0 ] && has_package "$package" || continue
    packages=("$package")
  done
  [ ${#packages[@]} -gt 0 ] || die "$command is missing, and the distribution has no package for it"
  [ $# -eq 0 ] || shift
  packages+=("$@")
  shown "apt-get install --no-install-recommends ${packages[*]}"
  apt install --no-install-recommends "${packages[@]}"
  hash -r
  command -v "$command" >/dev/null || die "package ${packages[0]} brought no command $command"
}

engine_answers() {
  [ -S "${DOCKER_HOST#unix://}" ] && timeout 10 docker version --format '{{.Server.Version}}' >/dev/null 2>&1
}
engine_version() { timeout 10 docker version --format '{{.Server.Version}}'; }

# await_engine TENTHS
await_engine() {
  local tries
  for ((tries = 0; tries < $1; tries++)); do
    ! engine_answers || return 0
    [ -z "$engine_process" ] || kill -0 "$engine_process" 2>/dev/null || return 1
    sleep 0.1
  done
  return 1
}

# Leaves a running Engine alone; otherwise installs one where there is none, or starts one for this run.
ensure_engine() {
  local recommended=()
  # Pods need an Engine on this machine.
  case ${DOCKER_HOST:-} in unix:///*) ;; *) DOCKER_HOST=unix:///var/run/docker.sock ;; esac
  export DOCKER_HOST
  unset DOCKER_CONTEXT DOCKER_API_VERSION
  command -v dockerd >/dev/null || [ -S "${DOCKER_HOST#unix://}" ] || {
    installed=yes
    say "No Docker Engine is here: installing the distribution's."
    # With an AppArmor kernel no container starts without the parser.
    [ "$(cat /sys/module/apparmor/parameters/enabled 2>/dev/null)" != Y ] || recommended+=(apparmor)
    install dockerd docker.io -- ca-certificates "${recommended[@]}"
  }
  # Newer releases keep the command apart from the Engine; an Engine may be here without it.
  install docker docker-cli docker.io
  # What has just been installed under systemd is started by its package.
  if [ $installed = yes ] && [ -d /run/systemd/system ]; then
    shown "systemctl start docker.service"
    systemctl start docker.service || die "the Engine does not start: see journalctl -u docker"
    await_engine 300 || die "the Engine that was installed does not answer on $DOCKER_HOST: see journalctl -u docker"
  fi
  if engine_answers; then
    say "  using Engine $(engine_version) at $DOCKER_HOST"
    shown "docker -H $DOCKER_HOST version"
    refuse_node
    return
  fi
  say "No Engine answers at $DOCKER_HOST: starting one for this run alone."
  start_engine
}

# An Engine that serves a node has a CRI server already: two would get in each other's way.
refuse_node() {
  local pods
  pods=$(timeout 30 docker ps --all --filter label=io.kubernetes.docker.type --format '{{.Names}}') ||
    die "the Engine at $DOCKER_HOST does not list its containers"
  [ -z "$pods" ] || die "this Engine has containers of pods already, such as $(head -n 1 <<<"$pods"): if they are left of \
a run with --keep, remove them first; a Kubernetes node is no place for this script"
}

# Nothing of this Engine meets another one on the machine: its containerd, data, sockets and control group are its own.
# It writes no packet filter rules, because an Engine that starts flushes those of all others; host ports go by
# docker-proxy. It makes no docker0; only if there is one it is kept, as an Engine without bridge would delete it.
start_engine() {
  local options=()
  DOCKER_HOST=unix://$work/docker.sock
  install dockerd docker.io
  command -v containerd >/dev/null || die "there is dockerd, but no containerd"
  cgroup=$(basename "$work")
  if [ ! -d /etc/docker ]; then etc_docker=absent; elif [ ! -e /etc/docker/key.json ]; then etc_docker=keyless; fi
  echo '{}' >"$work/daemon.json"
  cat >"$work/containerd.toml" <<TOML
version = 2
root = "$work/containerd"
state = "$work/containerd.run"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "$work/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
path = "$work/containerd.opt"
TOML
  setsid containerd --config "$work/containerd.toml" >"$work/containerd.log" 2>&1 </dev/null &
  containerd_process=$!
  # Their end is told by us, not by the shell.
  disown
  has_link docker0 || options+=(--bridge none)
  [ -d /run/systemd/system ] || options+=(--exec-opt native.cgroupdriver=cgroupfs --cgroup-parent "/$cgroup")
  shown "containerd --config $work/containerd.toml &"
  options=(--host "$DOCKER_HOST" --config-file "$work/daemon.json" --data-root "$work/data" --exec-root "$work/exec"
    --pidfile "$work/dockerd.pid" --containerd "$work/containerd.sock" --iptables=false --ip6tables=false --ip-forward=false
    --shutdown-timeout 5 "${options[@]}")
  shown "dockerd ${options[*]} &"
  setsid dockerd "${options[@]}" >"$work/dockerd.log" 2>&1 </dev/null &
  engine_process=$!
  disown
  await_engine 450 || {
    if kill -0 "$engine_process" 2>/dev/null; then tail -n 5 "$work/dockerd.log" | sed 's/^/  | /'; fi
    die "the Engine cannot be started"
  }
  say "  started Engine $(engine_version) at $DOCKER_HOST"
}

# Sets $client and $dockside.
build() {
  local needed have profile=${DOCKSIDE_PROFILE:-release} arguments
  command -v cargo >/dev/null || PATH=$HOME/.cargo/bin:$PATH
  local cargo=${CARGO:-cargo}
  command -v "$cargo" >/dev/null || die "cargo is not in PATH (https://rustup.rs has it)"
  needed=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$root/Cargo.toml" | head -n 1)
  have=$(cd "$root" && "$cargo" --version | awk '{print $2}')
  [ "$(printf '%s\n' "$needed" "${have%%-*}" | sort -V | head -n 1)" = "$needed" ] ||
    die "cargo is $have, dockside needs $needed: https://rustup.rs has it"
  arguments=(build --locked --profile "$profile" --package dockside --package quickstart)
  [ "$profile" != release ] || arguments=(build --release --locked --package dockside --package quickstart)
  shown "cargo ${arguments[*]}"
  cd "$root"
  interruptible bash -c 'exec "$@" >"$0" </dev/null' "$work/build.json" \
    "$cargo" "${arguments[@]}" --message-format json-render-diagnostics || die "dockside cannot be built"
  built() { sed -n "s|.*\"executable\":\"\([^\"]*/$1\)\".*|\1|p" "$work/build.json" | tail -n 1; }
  dockside=$(built dockside) client=$(built quickstart)
  [ -x "$dockside" ] && [ -x "$client" ] || die "cargo built no dockside or no quickstart"
  say "  $dockside"
}

# A static busybox, of the host or of the distribution's package.
find_busybox() {
  [ -z "${busybox:-}" ] || return 0
  busybox=$(command -v busybox || true)
  if [ -z "$busybox" ] || LC_ALL=C ldd "$busybox" >/dev/null 2>&1; then
    # Not installed, as it would take the place of another one.
    apt_update busybox
    mkdir "$work/busybox"
    (cd "$work/busybox" && apt -o APT::Sandbox::User=root download busybox-static && dpkg-deb -x busybox-static_*.deb .)
    busybox=$(find "$work/busybox" -name busybox -type f -path '*/bin/*')
    [ -n "$busybox" ] || die "package busybox-static brought no busybox"
  fi
}

# make_image NAME CHANGE...: from $work/NAME. Sets $reference.
make_image() {
  local name=$1 changes=() change; shift
  # A name that no other run has.
  reference=dockside-quickstart-$name:${run##*.}
  for change; do changes+=(--change "$change"); done
  made_images+=("$reference")
  tar -C "$work/$name" --owner=0 --group=0 -c . | docker import "${changes[@]}" - "$reference" >/dev/null ||
    die "the Engine does not import image $reference"
  say "  made image $reference"
}

# The image for dockside's --pod-infra-container-image: what holds a pod's namespaces needs only to wait.
make_pause_image() {
  find_busybox
  mkdir -p "$work/pause/bin"
  cp "$busybox" "$work/pause/bin/busybox"
  cat >"$work/pause/pause" <<'SH'
#!/bin/busybox sh
trap 'exit 0' INT TERM
while :; do /bin/busybox sleep 2147483647 & wait $!; done
SH
  chmod 755 "$work/pause/pause"
  make_image pause 'ENTRYPOINT ["/pause"]'
  pause=$reference
}

make_web_image() {
  local applet
  find_busybox
  mkdir -p "$work/web"/{bin,tmp,var/www}
  cp "$busybox" "$work/web/bin/busybox"
  for applet in sh httpd ls cat ps sleep hostname; do ln -s busybox "$work/web/bin/$applet"; done
  echo 'a page from a pod that dockside runs' >"$work/web/var/www/index.html"
  make_image web 'ENTRYPOINT ["httpd", "-f", "-p", "80", "-h", "/var/www"]' 'EXPOSE 80'
  image=$reference
}

start_dockside() {
  local tenth options
  docker network inspect dockside >/dev/null 2>&1 || network_mine=yes
  options=(--container-runtime-endpoint "unix://$work/cri.sock" --docker-endpoint "$DOCKER_HOST"
    --root-directory "$work/dockside" --network-plugin=docker
    --pod-infra-container-image "$pause")
  shown "$dockside ${options[*]} &"
  setsid "$dockside" "${options[@]}" >"$work/dockside.log" 2>&1 </dev/null &
  daemon=$!
  disown
  for ((tenth = 0; tenth < 100; tenth++)); do
    [ ! -S "$work/cri.sock" ] || return 0
    kill -0 "$daemon" 2>/dev/null || break
    sleep 0.1
  done
  die "dockside does not start"
}

client() { interruptible "$client" --endpoint "unix://$work/cri.sock" "$@"; }

# Pulls the image that was asked for, unless it is here.
pull() {
  local status=0
  ! docker image inspect "$image" >/dev/null 2>&1 || { say "  image $image is here already"; return; }
  # Before the pull, which may be interrupted at its very end.
  pulled_images=("$image")
  client pull "$image" || status=$?
  [ $status != 0 ] || return 0
  pulled_images=()
  [ $status = 3 ] || die "image $image cannot be pulled"
  say "The registry of $image cannot be reached: making an image here instead."
  make_web_image
}

# The port that the image says its server listens on.
image_port() {
  local ports
  ports=$(docker image inspect --format '{{range $port, $_ := .Config.ExposedPorts}}{{println $port}}{{end}}' "$image" |
    sed -n 's|^\([0-9]*\)/tcp$|\1|p' | sort -n)
  head -n 1 <<<"${ports:-80}"
}

save_state() {
  declare -p run client daemon engine_process containerd_process cgroup network_mine etc_docker made_images pulled_images \
    installed DOCKER_HOST >"$work/state"
}

go_on() {
  step "All of it is left running"
  if command -v crictl >/dev/null; then
    say "Go on with crictl:"
  else
    say "Go on with crictl (not installed here; https://github.com/kubernetes-sigs/cri-tools has it):"
  fi
  shown "export CONTAINER_RUNTIME_ENDPOINT=unix://$work/cri.sock"
  shown "crictl pods; crictl ps; crictl images"
  shown "curl http://127.0.0.1:$host_port/"
  say "See the same with Docker:"
  shown "docker -H $DOCKER_HOST ps"
  say "Logs are in $work. Remove everything:"
  shown "$root/deploy/quickstart.sh --remove $work"
}

if [ -n "$remove" ]; then
  work=$(readlink -f "$remove" || true)
  case $work in */dockside-quickstart.*) ;; *) die "$remove is not a directory that --keep has left" ;; esac
  [ -O "$work/state" ] || die "$remove/state is missing, or somebody else's: is the directory one that --keep has left?"
  # Written by save_state, as root, in a directory that only root can write to.
  . "$work/state"
  export DOCKER_HOST
  trap cleanup EXIT
  exit 0
fi

trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP
work=$(mktemp -d "${TMPDIR:-/tmp}/dockside-quickstart.XXXXXX")
run=$(basename "$work")
[ ${#work} -le 70 ] || die "the temporary directory's name is too long for unix sockets: set TMPDIR to a shorter one"

step "Docker Engine"
ensure_engine
step "Building dockside (minutes the first time)"
build
if [ -n "$host_port" ]; then
  "$client" port "$host_port" >/dev/null || die "port $host_port is taken: choose another with --host-port"
else
  host_port=$("$client" port)
fi
step "Images made here"
make_pause_image
[ -n "$image" ] || make_web_image
step "dockside, with a socket and directories of its own"
start_dockside
say "  crictl finds it by: export CONTAINER_RUNTIME_ENDPOINT=unix://$work/cri.sock"
client ready || die "dockside is not ready"
if [ ${#made_images[@]} -eq 1 ]; then
  step "Image $image"
  pull
fi
step "A pod with $image"
client run --run "$run" --image "$image" --port "$(image_port)" --host-port "$host_port" --files "$work" -- "${command[@]}" ||
  die "the pod does not do what it should"
if [ $keep = yes ]; then
  save_state
  go_on
  trap - EXIT
  printf '\n== Done in %s s\n' "$SECONDS"
elif command -v crictl >/dev/null; then
  say ""
  say "crictl is here: with --keep the pod stays, for you to look at with it."
fi
