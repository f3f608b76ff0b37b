#!/bin/sh
# Recomputes every proof of an evidence pack with sha256sum and openssl. Run it in the directory of the pack.
set -eu
export LC_ALL=C
fail() { echo "NOT VERIFIED: $*" >&2; exit 1; }
# Hexadecimal digits to bytes; xxd -r -p does the same.
bin() { printf "$(printf %s "$1" | sed 's/../0x& /g' | xargs printf '\\%03o')"; }
sha() { sha256sum | cut -d ' ' -f 1; }

# 1. No file was changed, taken away or added.
find . -type f ! -name MANIFEST.sha256 | sed 's|^\./||' | sort | xargs sha256sum | cmp -s - MANIFEST.sha256 ||
  fail "the files are not those of MANIFEST.sha256"

# 2. Every line is a leaf of its block, every block is in the chain, and the chain is signed.
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
subject= visitor= requests= head= root= node= waiting=0 lines=0 signed=0 unsigned=0
exec 3< lines.ndjson
while read -r step a b c; do
  [ -z "$node" ] || case $step in left | right | root) ;; *) fail "line $lines does not reach its root" ;; esac
  case $step in
  visitor) visitor=$a subject="visitor $a" ;;
  requests) requests=$a subject="the requests of $a" ;;
  head) [ "$waiting" -eq 0 ] || fail "a chain is cut"; head=$a ;;
  block)
    root=$c waiting=$((waiting + 1))
    head=$({ printf 'deckle-audit-v1\000'; bin "$head"; bin "$root"; bin "$(printf %016x%016x "$a" "$b")"; } | sha)
    ;;
  line)
    lines=$((lines + 1)) fresh=$((${fresh:-0} + 1))
    IFS= read -r text <&3 || fail "line $lines is not there"
    if [ -n "$requests" ]; then
      id=${text#*\"deckle.request.id\":\"}
      id=${id%%\"*}
      grep -qxF -e "$id" "$requests" || fail "line $lines is not one of $subject"
      field="\"deckle.request.id\":\"$id\""
    else
      field="\"deckle.visitor.id\":\"$visitor\""
    fi
    case $text in
    *"\"deckle.seq\":$b,"*"$field"*) ;;
    *) fail "line $lines is not number $b of $subject" ;;
    esac
    node=$({ printf '\000'; printf '%s\n' "$text"; } | sha)
    ;;
  left) node=$({ printf '\001'; bin "$a"; bin "$node"; } | sha) ;;
  right) node=$({ printf '\001'; bin "$node"; bin "$a"; } | sha) ;;
  root) [ "$node" = "$root" ] || fail "line $lines is not in its block"; node= ;;
  segment)
    grep -q "\"previous.head\":\"$head\"" "$a" || fail "$a does not go on with the chain"
    head=$(sha < "$a") root=
    ;;
  signed)
    { printf 'deckle-audit-head-v1\000'; bin "$head"; } > "$tmp/message"
    printf %s "$b" | openssl base64 -d -A > "$tmp/signature"
    openssl pkeyutl -verify -pubin -inkey "keys/$a.pem" -rawin -in "$tmp/message" -sigfile "$tmp/signature" \
      > "$tmp/said" 2>&1 || fail "the signature of head $head is not one of key $a"
    signed=$((signed + ${fresh:-0})) fresh=0 waiting=0
    ;;
  unsigned) unsigned=$((unsigned + ${fresh:-0})) fresh=0 waiting=0 ;;
  *) fail "unknown step $step" ;;
  esac
done < proofs.txt
[ -z "$node" ] && [ "$waiting" -eq 0 ] || fail "the last proof has no end"
IFS= read -r text <&3 && fail "lines.ndjson holds a line without a proof"
[ "$lines" -gt 0 ] || fail "there is no line"
echo "VERIFIED: $signed lines of $subject under signed heads, $unsigned under heads that nobody has signed."
