#!/bin/bash
# translate/ must stay pure: values in, values out. Prints each line that breaks this, as file:line, and fails.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/../.."
forbidden='\btokio\b|\bstd::(fs|os|env|process|thread)\b|\b(TcpStream|TcpListener|UdpSocket|UnixStream|UnixListener|ToSocketAddrs)\b|\bstd::io\b|\b(SystemTime|Instant|Zoned|Timestamp)::now\b|\b(rand|fastrand|getrandom|hyper|bollard)::|\basync +(fn|move|\{)|\.await\b|\bprint(ln)?!|\beprint(ln)?!|\b(option_)?env!'
status=0
# Comments may name what code may not, and tests may read files. In a list of imports (`use std::{fs, …}`, on one line or
# on several) each word is written out before it is looked at.
while IFS= read -r -d '' file; do
  awk -v file="$file" '
    test && /^(pub )?mod [a-z_]+ \{/ { exit }
    { test = /^#\[cfg\(test\)\]/ }
    { line = $0; sub(/^[[:space:]]*\/\/.*/, "", line) }
    line ~ /use std::\{/ { list = 1 }
    list { gsub(/[a-z_]+(::|,|\}|$)/, "std::&", line) }
    list && /\}/ { list = 0 }
    { printf "%s:%d:%s\n", file, NR, line }' "$file" |
    { grep -P "^[^:]*:[0-9]+:.*($forbidden)" && exit 1 || exit 0; } || status=1
done < <(find translate/src -name '*.rs' ! -name tests.rs ! -path '*/tests/*' -print0)
if awk '/^\[/ {part = $0} part == "[dependencies]" && /^(tokio|rand|hyper|getrandom)/ {print FILENAME ":" FNR ":" $0; found = 1} END {exit !found}' \
  translate/Cargo.toml; then status=1; fi
[ $status = 0 ] || echo 'translate/ must do no IO and know no clock, environment or randomness: see the lines above' >&2
exit $status
