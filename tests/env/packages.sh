#!/bin/bash
# packages.sh CACHE ENGINE: what the environment is made of, from the distribution's packages.
#
# General tools are installed with apt where they are missing. Whatever brings a service or could replace something on
# the host (an Engine, containerd, a registry, busybox) is only unpacked below CACHE: no maintainer script runs, nothing
# starts, and a host with another Docker keeps it. ENGINE may be a newer Debian suite; its packages come from
# the mirror that apt on this machine uses for Debian.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
. "$here/common.sh"
cache=$1 engine=$2
export DEBIAN_FRONTEND=noninteractive

# apt on this machine, quiet unless it fails.
apt() {
  local log=$cache/apt.log
  apt-get -q -y -o APT::Sandbox::User=root "$@" >"$log" 2>&1 || { tail -n 15 "$log" >&2; die "apt-get $* failed"; }
}

updated=no
update_once() { [ $updated = yes ] || apt update; updated=yes; }

install_tools() {
  local missing=() pair
  for pair in ip:iproute2 iptables:iptables curl:curl jq:jq pgrep:procps nsenter:util-linux setpriv:util-linux \
    cc:gcc patchelf:patchelf gzip:gzip; do
    command -v "${pair%%:*}" >/dev/null || missing+=("${pair#*:}")
  done
  # The pause program is linked statically.
  [ -n "$(find /usr/lib -maxdepth 2 -name libc.a -print -quit)" ] || missing+=(libc6-dev)
  # Clients of other languages send what dockside must accept; this is the one that Debian packages.
  /usr/bin/python3 -c 'import grpc' 2>/dev/null || missing+=(python3-grpcio)
  # What the unpacked programs link to.
  [ -e "/usr/share/doc/libdevmapper1.02.1" ] || missing+=(libdevmapper1.02.1)
  [ -e "/usr/share/doc/libseccomp2" ] || missing+=(libseccomp2)
  [ ${#missing[@]} -gt 0 ] || return 0
  say "installing ${missing[*]}"
  update_once
  apt install --no-install-recommends "${missing[@]}"
}

# unpack NAME APT-OPTION... -- PACKAGE...: the packages, downloaded and unpacked as $cache/NAME, whole or not at all.
unpack() {
  local name=$1 options=() deb; shift
  while [ "$1" != -- ]; do options+=("$1"); shift; done
  shift
  rm -rf "$cache/$name.new"
  mkdir -p "$cache/$name.new/deb"
  (cd "$cache/$name.new/deb" && apt "${options[@]}" download "$@")
  for deb in "$cache/$name.new/deb"/*.deb; do dpkg-deb -x "$deb" "$cache/$name.new"; done
  rm -rf "$cache/$name.new/deb" "${cache:?}/$name"
}

install_tools

if [ ! -d "$cache/distribution" ]; then
  say "unpacking the distribution's Engine, registry, CNI plugins and busybox"
  update_once
  unpack distribution -- docker.io containerd runc tini docker-registry containernetworking-plugins busybox-static
  mv "$cache/distribution.new" "$cache/distribution"
fi

case $engine in distribution | socket) exit 0 ;; esac
if [ ! -d "$cache/$engine" ]; then
  say "unpacking the Engine of Debian $engine"
  # Without lists apt cannot tell which of its sources is Debian's.
  uri=$(debian_mirror 2>/dev/null) || { update_once; uri=$(debian_mirror); }
  apt_dir=$cache/$engine.apt
  mkdir -p "$apt_dir/lists/partial" "$apt_dir/parts"
  echo "deb $uri $engine main" >"$apt_dir/sources.list"
  options=(-o "Dir::State::Lists=$apt_dir/lists" -o "Dir::Etc::SourceList=$apt_dir/sources.list"
    -o "Dir::Etc::SourceParts=$apt_dir/parts" -o "Dir::Etc::PreferencesParts=$apt_dir/parts"
    -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache=
    # A mirror that stands still serves tests as well as any; signatures are checked all the same.
    -o Acquire::Check-Valid-Until=false)
  apt "${options[@]}" update
  unpack "$engine" "${options[@]}" -- docker.io containerd runc libc6 libseccomp2
  # dockerd and containerd run with an older libc, runc does not: it gets that of its suite. The addresses written
  # into it must be those of the final place.
  mv "$cache/$engine.new" "$cache/$engine"
  loader=$(find "$cache/$engine/" -name 'ld-linux*.so.*' -type f | head -n 1)
  libc=$(find "$cache/$engine/" -name libc.so.6 | head -n 1)
  runc=$(find "$cache/$engine/" -name runc -type f -path '*bin/runc' | head -n 1)
  if [ -z "$loader" ] || [ -z "$libc" ] || [ -z "$runc" ] ||
    ! patchelf --set-interpreter "$loader" --set-rpath "$(dirname "$libc")" "$runc"; then
    rm -rf "${cache:?}/$engine"
    die "cannot give runc of $engine its own libc"
  fi
  rm -rf "$apt_dir"
fi
