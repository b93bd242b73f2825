#!/bin/bash
# Builds the Debian package.
#
#   deploy/package.sh [--binary FILE] [OUTPUT]
#
#   --binary  the program to put into it, which must run here; without it a static one is built (deploy/static.sh)
#   OUTPUT    the package's file, or the directory to put it into (target/deploy)
#
# Needs dpkg-deb, and what deploy/static.sh needs. The same sources give the same package. Its version is the program's,
# with the last commit's time and name behind it unless that has the tag v<version>, so that a later one is an upgrade.
#
# Read from the environment: what deploy/static.sh reads; SOURCE_DATE_EPOCH (the time of the last commit); DEBFULLNAME and
# DEBEMAIL, who gives the package away.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
die() { printf 'package: %s\n' "$*" >&2; exit 1; }

target=${CARGO_TARGET_DIR:-target}
binary= output=$target/deploy
while [ $# -gt 0 ]; do
  case $1 in
    --binary) [ $# -ge 2 ] || die "--binary needs a file"; binary=$2; shift ;;
    --binary=*) binary=${1#*=} ;;
    -h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"; exit 0 ;;
    -*) die "unknown option $1 (see --help)" ;;
    *) output=$1 ;;
  esac
  shift
done
command -v dpkg-deb >/dev/null || die "needs dpkg-deb"
if [ -z "$binary" ]; then
  binary=$target/deploy/dockside
  deploy/static.sh "$binary"
fi
[ -x "$binary" ] || die "$binary is no program"
binary=$(readlink -f "$binary")

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tree=$work/dockside
put() { install -D -m "$1" "$2" "$tree/$3"; }

put 755 "$binary" usr/bin/dockside
put 644 deploy/systemd/dockside.service usr/lib/systemd/system/dockside.service
put 644 deploy/systemd/dockside.socket usr/lib/systemd/system/dockside.socket
put 644 deploy/debian/copyright usr/share/doc/dockside/copyright
put 644 deploy/switch.md usr/share/doc/dockside/switch.md
put 644 README.md usr/share/doc/dockside/README.md
put 644 FIELDS.md usr/share/doc/dockside/FIELDS.md
deploy/licences.sh >"$work/THIRD-PARTY"
gzip -9 --no-name "$work/THIRD-PARTY"
put 644 "$work/THIRD-PARTY.gz" usr/share/doc/dockside/THIRD-PARTY.gz
# The program describes its options itself: manual page, completions and the configuration file say what it does.
"$binary" man >"$work/man"
"$binary" completions bash >"$work/bash"
"$binary" completions zsh >"$work/zsh"
"$binary" completions fish >"$work/fish"
"$binary" config --template >"$work/config"
gzip -9 --no-name "$work/man"
put 644 "$work/man.gz" usr/share/man/man8/dockside.8.gz
put 644 "$work/bash" usr/share/bash-completion/completions/dockside
put 644 "$work/zsh" usr/share/zsh/vendor-completions/_dockside
put 644 "$work/fish" usr/share/fish/vendor_completions.d/dockside.fish
put 644 "$work/config" etc/dockside/config.toml
install -d -m 755 "$tree/etc/dockside/config.d"

version=$("$binary" --version | awk '{print $2}')
commit=
if [ "$(git rev-parse --show-toplevel 2>/dev/null)" = "$PWD" ]; then
  commit=$(git log -1 --format=%h --abbrev=10)
  [ "$(git tag --points-at HEAD --list "v$version")" ] ||
    version+=+git$(TZ=UTC git log -1 --format=%cd.%h --abbrev=10 --date=format-local:%Y%m%d.%H%M%S)
fi
: "${SOURCE_DATE_EPOCH:=$([ -z "$commit" ] && date +%s || git log -1 --format=%ct)}"
export SOURCE_DATE_EPOCH
maintainer="${DEBFULLNAME:-the authors of dockside} <${DEBEMAIL:-dockside@package.invalid}>"
cat >"$work/changelog" <<TEXT
dockside ($version) unstable; urgency=medium

  * Built from ${commit:+commit $commit of }the sources of version ${version%%+*}.

 -- $maintainer  $(LC_ALL=C date -Ru -d "@$SOURCE_DATE_EPOCH")
TEXT
gzip -9 --no-name "$work/changelog"
# Of a package without a Debian revision it has this name.
put 644 "$work/changelog.gz" usr/share/doc/dockside/changelog.gz

# A program that is not static runs where its C library is at least as new as here.
relations='Recommends: docker.io | docker-ce'
if readelf -d "$binary" | grep -q NEEDED; then
  relations="Depends: libc6 (>= $(ldd --version | awk 'NR == 1 {print $NF}'))
$relations"
fi
mkdir "$tree/DEBIAN"
for script in postinst prerm postrm; do put 755 "deploy/debian/$script" "DEBIAN/$script"; done
echo /etc/dockside/config.toml >"$tree/DEBIAN/conffiles"
cat >"$tree/DEBIAN/control" <<TEXT
Package: dockside
Version: $version
Architecture: $(dpkg --print-architecture)
Maintainer: $maintainer
Installed-Size: $(du -sk --exclude DEBIAN "$tree" | cut -f1)
Section: admin
Priority: optional
$relations
Suggests: containernetworking-plugins, kubelet
Description: runs Kubernetes pods on Docker Engine
 A CRI v1 server: the kubelet, crictl and other CRI clients connect to its
 socket, and it makes their pods out of containers of the Docker Engine on the
 same node. It takes the place of cri-dockerd, on the same socket and with the
 same names and labels, and its pods run on.
TEXT
# What an administrator may change is not among it: dpkg knows that file's sum itself.
(cd "$tree" && find . \( -path ./DEBIAN -o -path ./etc \) -prune -o -type f -printf '%P\n' | LC_ALL=C sort | xargs md5sum) \
  >"$tree/DEBIAN/md5sums"

find "$tree" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
mkdir -p "$([ "${output%.deb}" != "$output" ] && dirname "$output" || echo "$output")"
dpkg-deb --root-owner-group -Zxz --build "$tree" "$output"
