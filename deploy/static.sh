#!/bin/bash
# Builds dockside as one static file (musl), which runs on every Linux of this machine's kind of processor.
#
#   deploy/static.sh [OUTPUT]
#
#   OUTPUT  where to put it (target/deploy/dockside)
#
# Needs cargo with rustup and a C compiler as the linker; fetches Rust's own musl libraries if they are not there.
#
# Read from the environment: CARGO, CARGO_TARGET_DIR, DOCKSIDE_PROFILE (release: how cargo builds).
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
die() { printf 'static: %s\n' "$*" >&2; exit 1; }

case ${1:-} in -h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"; exit 0 ;; esac
command -v cargo >/dev/null || PATH=$HOME/.cargo/bin:$PATH
cargo=${CARGO:-cargo} profile=${DOCKSIDE_PROFILE:-release} target=${CARGO_TARGET_DIR:-target}
output=${1:-$target/deploy/dockside}
kind=$(uname -m)-unknown-linux-musl

[ -d "$(rustc --print sysroot)/lib/rustlib/$kind" ] || {
  command -v rustup >/dev/null || die "Rust's libraries for $kind are not there, nor is rustup, which fetches them"
  rustup target add "$kind" || die "cannot fetch Rust's libraries for $kind"
}
# The few C files among the crates need nothing of a C library, so any compiler for this processor will do.
compiler=CC_${kind//-/_}
[ -n "${!compiler:-}" ] || command -v "$(uname -m)-linux-musl-gcc" >/dev/null || export "$compiler=${CC:-cc}"
"$cargo" build --locked --target "$kind" --profile "$profile" --bin dockside
[ "$profile" != dev ] || profile=debug
built=$target/$kind/$profile/dockside
! readelf -d "$built" | grep -q NEEDED || die "$built is not static"
mkdir -p "$(dirname "$output")"
install -m 755 "$built" "$output"
[ "$profile" = debug ] || strip "$output"
echo "$output: $(stat -c %s "$output") bytes"
