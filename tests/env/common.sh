# Functions that the scripts of the test environment share; sourced, not run.

say() { printf '%s\n' "$*" >&2; }
step() { printf '== %s (%s s)\n' "$*" "$SECONDS" >&2; }
die() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; exit 1; }

# await SECONDS COMMAND...: until COMMAND succeeds; fails when the time is over.
await() {
  local tenths=$(($1 * 10)); shift
  while ! "$@" >/dev/null 2>&1; do
    ((tenths-- > 0)) || return 1
    sleep 0.1
  done
}

gone() { ! kill -0 "$1" 2>/dev/null; }
wait_gone() { await 20 gone "$1"; }

# The first process of the namespaces of the environment in directory $1, as the host numbers it. A number read from a
# file may belong to somebody else by now, hence the look at its command line.
holder_pid() {
  local outer child
  outer=$(cat "$1/holder" 2>/dev/null) || return 1
  child=$(pgrep -P "$outer" -f tests/env/inside.sh | head -n 1)
  [ -n "$child" ] || return 1
  echo "$child"
}

# Ends the registries of an environment that has no PID namespace.
end_registries() {
  local file pid
  for file in "$1"/registry-*.pid; do
    [ -e "$file" ] || continue
    pid=$(cat "$file")
    if tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -q "docker-registry serve $1/"; then kill "$pid" || true; fi
    rm -f "$file"
  done
}

# Removes the control groups at and below path $1, in every hierarchy (version 1) or the one (version 2).
remove_cgroups() {
  local base
  for base in /sys/fs/cgroup /sys/fs/cgroup/*; do
    [ -d "$base$1" ] || continue
    await 5 rmdir_all "$base$1" || say "cannot remove the control group $base$1"
  done
}
rmdir_all() { find "$1" -depth -type d -exec rmdir {} \; && [ ! -d "$1" ]; }

# The base address of this machine's Debian mirror, as apt understands its own sources.
debian_mirror() {
  local uri=${DOCKSIDE_DEBIAN_MIRROR:-}
  if [ -z "$uri" ]; then
    uri=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Label: Debian' \
      'Component: main' | sort -u | head -n 1)
  fi
  [ -n "$uri" ] || die "apt has no Debian source: set DOCKSIDE_DEBIAN_MIRROR"
  echo "$uri"
}
