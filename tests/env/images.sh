#!/bin/bash
# images.sh CACHE: the test images, as the storage of a registry at CACHE/images/storage; beside it the busybox that is in them.
#
# images/*.json say what there is: the references, the layers (see `layer_*`), and the configuration, which is an image
# configuration's `config` object word for word. They are pushed by the distribution protocol itself, so that
# every Engine sees the same bytes, digests are the same on every run, and no Engine is needed to make them.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
. "$here/common.sh"
cache=$1
busybox=$(find "$cache/distribution/" -name busybox -type f -perm -u+x | head -n 1)
[ -n "$busybox" ] || die "no busybox below $cache/distribution"

# Made once for each set of ingredients.
ingredients=$(cat "$0" "$here/pause.c" "$here"/images/*.json "$busybox" | sha256sum | cut -c1-64)
[ "$(cat "$cache/images/ingredients" 2>/dev/null)" != "$ingredients" ] || exit 0
say "making the test images"
new=$cache/images.new work=$(mktemp -d)
rm -rf "$new"
mkdir -p "$new/storage"
registry=
trap '[ -z "$registry" ] || kill "$registry"; rm -rf "$work"' EXIT

layer_pause() { cc -static -Os -Wall -Werror -s -o "$1/pause" "$here/pause.c"; }

layer_busybox() {
  mkdir -p "$1"/{bin,dev,etc,home,proc,root,sys,tmp,usr,var/www}
  chmod 1777 "$1/tmp"
  cp "$busybox" "$1/bin/busybox"
  chmod 755 "$1/bin/busybox"
  local applet
  for applet in $("$busybox" --list); do [ "$applet" = busybox ] || ln -s busybox "$1/bin/$applet"; done
  printf '%s\n' root:x:0:0:root:/root:/bin/sh www-data:x:33:33:www-data:/var/www:/bin/false \
    member:x:1000:1000:member:/home:/bin/sh nobody:x:65534:65534:nobody:/home:/bin/false >"$1/etc/passwd"
  # `member` is in a group that only the image knows.
  printf '%s\n' root:x:0: www-data:x:33: member:x:1000: image-group:x:50000:member nogroup:x:65534: >"$1/etc/group"
  printf 'dockside test page\n' >"$1/var/www/index.html"
}

layer_extra() { head -c 1000000 /dev/zero | tr '\0' 'x' >"$1/extra"; }

# layer NAME: makes $work/NAME.tar and .tar.gz; the same content gives the same digest.
layer() {
  [ ! -e "$work/$1.tar.gz" ] || return 0
  mkdir "$work/$1"
  "layer_$1" "$work/$1"
  tar -C "$work/$1" --sort=name --mtime=@1700000000 --owner=0 --group=0 --numeric-owner -cf "$work/$1.tar" .
  gzip -n -9 -k "$work/$1.tar"
}

cat >"$work/registry.yml" <<YAML
version: 0.1
log: {level: error}
storage: {filesystem: {rootdirectory: $new/storage}}
http: {net: unix, addr: $work/registry.sock}
YAML
"$cache/distribution/usr/bin/docker-registry" serve "$work/registry.yml" >"$work/registry.log" 2>&1 &
registry=$!
call() { curl --fail --silent --show-error --unix-socket "$work/registry.sock" "$@"; }
await 10 call http://registry/v2/ || die "the registry does not start: $(cat "$work/registry.log")"

digest() { echo "sha256:$(sha256sum "$1" | cut -c1-64)"; }

# put_blob REPOSITORY FILE
put_blob() {
  local place sum
  sum=$(digest "$2")
  place=$(call -X POST -D - -o /dev/null "http://registry/v2/$1/blobs/uploads/" | tr -d '\r' | sed -n 's/^[Ll]ocation: //p')
  call -X PUT -H 'Content-Type: application/octet-stream' --data-binary "@$2" "$place&digest=$sum" >/dev/null
}

descriptor() { jq -nc --arg t "$1" --arg d "$(digest "$2")" --argjson s "$(stat -c %s "$2")" '{mediaType: $t, digest: $d, size: $s}'; }

# push FILE: the image that the JSON file describes, under each of its references.
push() {
  local definition=$1 layers=() diffs=() descriptors=() name reference repository
  mapfile -t layers < <(jq -r '.layers[]' "$definition")
  for name in "${layers[@]}"; do
    layer "$name"
    diffs+=("$(digest "$work/$name.tar")")
    descriptors+=("$(descriptor application/vnd.docker.image.rootfs.diff.tar.gzip "$work/$name.tar.gz")")
  done
  jq -c --arg arch "$(dpkg --print-architecture)" \
    '{created: "2024-01-01T00:00:00Z", architecture: $arch, os: "linux", config,
      rootfs: {type: "layers", diff_ids: $ARGS.positional},
      history: [.layers[] | {created: "2024-01-01T00:00:00Z", created_by: ("layer " + .)}]}' \
    "$definition" --args "${diffs[@]}" >"$work/config.json"
  jq -nc --argjson config "$(descriptor application/vnd.docker.container.image.v1+json "$work/config.json")" \
    '{schemaVersion: 2, mediaType: "application/vnd.docker.distribution.manifest.v2+json", config: $config,
      layers: ($ARGS.positional | map(fromjson))}' --args "${descriptors[@]}" >"$work/manifest.json"
  for reference in $(jq -r '.references[]' "$definition"); do
    repository=${reference%:*}
    for name in "${layers[@]}"; do put_blob "$repository" "$work/$name.tar.gz"; done
    put_blob "$repository" "$work/config.json"
    call -X PUT -H 'Content-Type: application/vnd.docker.distribution.manifest.v2+json' \
      --data-binary "@$work/manifest.json" "http://registry/v2/$repository/manifests/${reference##*:}" >/dev/null
  done
}

for definition in "$here"/images/*.json; do push "$definition"; done
cp "$busybox" "$new/busybox"
chmod 755 "$new/busybox"
echo "$ingredients" >"$new/ingredients"
rm -rf "$cache/images"
mv "$new" "$cache/images"
