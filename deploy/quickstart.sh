#!/bin/bash
# From nothing to a pod that serves a page, on one machine, with nothing but Docker and dockside.
#
#   deploy/quickstart.sh [IMAGE]
#
# IMAGE is a web server's image to run; without it a small one is made here from busybox, so that no registry has to be
# reached. Needs root on Debian or Ubuntu. Removes at the end what it made and stops what it started; packages that
# it installed stay.
set -euo pipefail

say() { printf '%s\n' "$*" >&2; }
die() { printf 'quickstart: %s\n' "$*" >&2; exit 1; }

work=$(mktemp -d /tmp/dockside-quickstart.XXXXXX)
engine_process= engine_unit=
made_image=

# Undoes in reverse what has been done; runs on every way out.
cleanup() {
  local status=$?
  trap - EXIT INT TERM HUP
  if [ -n "$made_image" ]; then docker image rm --force "$made_image" >/dev/null 2>&1 || true; fi
  if [ -n "$engine_unit" ]; then systemctl stop docker.socket docker.service || true; fi
  if [ -n "$engine_process" ]; then
    kill "$engine_process" 2>/dev/null || true
    wait "$engine_process" 2>/dev/null || true
  fi
  rm -rf "$work"
  exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP

apt_updated=
# apt ARGUMENT...: apt-get, quiet unless it fails.
apt() {
  DEBIAN_FRONTEND=noninteractive apt-get -q -y "$@" >"$work/apt.log" 2>&1 || {
    tail -n 15 "$work/apt.log" >&2
    die "apt-get $* failed"
  }
}

# install COMMAND PACKAGE...: if the command is missing, the first of these packages that the distribution has.
install() {
  local command=$1 package; shift
  ! command -v "$command" >/dev/null || return 0
  command -v apt-get >/dev/null || die "$command is missing, and without apt-get it cannot be installed from here"
  [ -n "$apt_updated" ] || apt update
  apt_updated=yes
  for package in "$@"; do
    apt-cache show "$package" >/dev/null 2>&1 || continue
    say "installing $package"
    apt install --no-install-recommends "$package"
    command -v "$command" >/dev/null || die "package $package brought no command $command"
    return
  done
  die "$command is missing, and the distribution has none of the packages $*"
}

engine_answers() { docker version --format '{{.Server.Version}}' >/dev/null 2>&1; }

await_engine() {
  local tries
  for ((tries = 0; tries < 300; tries++)); do
    ! engine_answers || return 0
    [ -z "$engine_process" ] || kill -0 "$engine_process" 2>/dev/null || return 1
    sleep 0.1
  done
  return 1
}

# Leaves a running Engine alone; otherwise starts one, by systemd where that runs the machine, and notes to stop it.
ensure_engine() {
  # `DOCKER_HOST` may name an Engine elsewhere; pods need the one here.
  export DOCKER_HOST=unix:///var/run/docker.sock
  unset DOCKER_CONTEXT
  local installed=no
  command -v dockerd >/dev/null || installed=yes
  # Newer releases keep the command apart from the Engine; an Engine may be here without it.
  install docker docker-cli docker.io
  if engine_answers; then
    say "using Engine $(docker version --format '{{.Server.Version}}')"
    return
  fi
  install dockerd docker.io
  if [ -d /run/systemd/system ]; then
    # A package that has just been installed keeps running: this is then the machine's Engine.
    [ $installed = yes ] || engine_unit=docker.service
    systemctl start docker.service || die "cannot start the Engine: see journalctl -u docker"
  elif ! engine_answers; then
    setsid dockerd >"$work/dockerd.log" 2>&1 </dev/null &
    engine_process=$!
  fi
  await_engine || {
    [ ! -e "$work/dockerd.log" ] || tail -n 5 "$work/dockerd.log" >&2
    die "the Engine does not answer"
  }
  say "started Engine $(docker version --format '{{.Server.Version}}')"
}

# Sets $image: the one asked for, pulled unless it is here, or one made of the static busybox.
make_image() {
  image=${1:-}
  if [ -n "$image" ]; then
    docker image inspect "$image" >/dev/null 2>&1 || docker pull "$image" >&2 || die "cannot pull $image"
    return
  fi
  local root=$work/web busybox
  install busybox busybox-static
  busybox=$(command -v busybox)
  if LC_ALL=C ldd "$busybox" >/dev/null 2>&1; then
    # The host's busybox needs its libraries: take the static one, without installing it in the other's place.
    (cd "$work" && chmod 755 . && apt download busybox-static && dpkg-deb -x busybox-static_*.deb unpacked)
    busybox=$(find "$work/unpacked" -name busybox -type f -path '*/bin/*')
    [ -n "$busybox" ] || die "package busybox-static brought no busybox"
  fi
  mkdir -p "$root"/{bin,tmp,var/www}
  cp "$busybox" "$root/bin/busybox"
  local applet
  for applet in sh httpd ls cat ps sleep; do ln -s busybox "$root/bin/$applet"; done
  echo 'a page from a pod that dockside runs' >"$root/var/www/index.html"
  image=dockside-quickstart:latest
  tar -C "$root" --owner=0 --group=0 -c . |
    docker import --change 'CMD ["httpd", "-f", "-p", "80", "-h", "/var/www"]' --change 'EXPOSE 80' - "$image" >/dev/null
  made_image=$image
  say "made image $image"
}

[ "$(id -u)" = 0 ] || die "must be run as root: it runs an Engine and makes pods"
ensure_engine
make_image "${1:-}"
