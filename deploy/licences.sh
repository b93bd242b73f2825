#!/bin/bash
# The licences of what the program is made of.
#
#   deploy/licences.sh            prints each crate that is in the program, its licence and its licence's texts
#   deploy/licences.sh --check    fails if a crate that the workspace uses has a licence that is not accepted below
#
# Needs cargo. Read from the environment: CARGO.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
die() { printf 'licences: %s\n' "$*" >&2; exit 1; }
command -v cargo >/dev/null || PATH=$HOME/.cargo/bin:$PATH
cargo=${CARGO:-cargo} platform=$(uname -m)-unknown-linux-musl

# One of these must be among each crate's alternatives, in SPDX's words.
accepted='Apache-2.0|BSD-3-Clause|ISC|MIT|Unicode-3.0|Zlib'

# tree OPTION...: a crate a line, as NAME VERSION|LICENCE|REPOSITORY, without those of this workspace.
tree() {
  "$cargo" tree --locked --target "$platform" --prefix none --format '{p}|{l}|{r}' "$@" |
    sed -e 's/ (\*)$//' -e '/^$/d' -e '/^[^|]* (\//d' -e 's/ v\([^|]*\)/ \1/' -e 's/ (proc-macro)//' | LC_ALL=C sort -u
}

# An AND needs each of its sides, an OR one; of an OR of ANDs more is asked than needed, never less.
check() {
  tree --workspace --edges normal,build,dev | awk -F'|' -v accepted="^($accepted)\$" '
    { text = $2; gsub(/[()]/, "", text); gsub(/ *\/ */, " OR ", text); count = split(text, sides, " AND ")
      for (side = 1; side <= count || side == 1; side++) {
        fine = 0; parts = split(sides[side], licence, " OR ")
        for (part = 1; part <= parts; part++) if (licence[part] ~ accepted) fine = 1
        if (!fine) { print "licences: " $1 ": \"" $2 "\" is not accepted"; bad = 1 } } }
    END { if (!NR) { print "licences: there are no crates"; bad = 1 }; exit bad }' >&2
}

# texts FOLDER: the files of a crate that say what it may be used for.
texts() {
  find "$1" -maxdepth 1 -type f | LC_ALL=C sort |
    grep -iE '/(licen[cs]e|copying|copyright|notice|unlicense)[^/]*$' || true
}

notice() {
  local crates folders crate licence repository folder file sum other found
  declare -A number=() paths=() of=()
  crates=$(tree --package dockside --edges normal,no-proc-macro)
  folders=$("$cargo" metadata --locked --format-version 1 --filter-platform "$platform" | tr ',' '\n' |
    sed -n 's/^"manifest_path":"\(.*\)\/Cargo.toml".*$/\1/p')
  echo "The program dockside contains these crates. The numbers are those of their licences' texts, which follow."
  echo
  while IFS='|' read -r crate licence repository; do
    folder=${crate//+/\\+}
    # Of a registry's crates the folder has the version in its name; of vendored ones it need not.
    folder=$(grep -m 1 -E "/${folder/ /-}\$" <<<"$folders" || grep -m 1 -E "/${crate% *}\$" <<<"$folders") ||
      die "the source of $crate is nowhere"
    found=$(texts "$folder")
    # Some crates of a repository leave the text to others of it.
    if [ -z "$found" ]; then
      [ -z "$repository" ] || found=${of[$repository]:-}
      [ -n "$found" ] || [[ $licence != *Apache-2.0* ]] || found=LICENSE
      [ -n "$found" ] || die "$crate has no text of its licence, $licence"
    fi
    [ -z "$repository" ] || of[$repository]=$found
    other=
    while read -r file; do
      sum=$(tr -s '[:space:]' ' ' <"$file" | cksum)
      [ -n "${number[$sum]:-}" ] || { number[$sum]=$((${#number[@]} + 1)); paths[${number[$sum]}]=$file; }
      other+=", ${number[$sum]}"
    done <<<"$found"
    echo "$crate: $licence (${other#, }) $repository"
  done <<<"$crates"
  for ((n = 1; n <= ${#paths[@]}; n++)); do
    printf '\n%s\n\n' "---------- $n ----------"
    cat "${paths[$n]}"
  done
}

case ${1:-} in
  '') notice ;;
  --check) check ;;
  -h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0" ;;
  *) die "unknown option $1 (see --help)" ;;
esac
