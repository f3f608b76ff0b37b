#!/usr/bin/env bash
# deckle review against GoAccess on one large log, in one run: CPU seconds, wall time, memory, and the ratios.
#
#   scripts/bench_review.sh [--part N]      N: one Nth of the log (default 1: about 1 GB)
#
# The log is made from the real lines of the corpus (10,000 of them, DECKLE_CORPUS, default ../shared/corpus), again and again
# with other days and addresses, in order of time: 31 days, about 770,000 addresses. Prints one line of JSON a measurement,
# and the floors that are to hold; the whole log fails where one does not.
set -euo pipefail
cd "$(dirname "$0")/.."
part=1
if [ "${1:-}" = --part ]; then part=$2; fi
corpus=${DECKLE_CORPUS:-../shared/corpus}
if [ ! -d "$corpus/logs" ]; then
    echo "skipped: no logs at $corpus (set DECKLE_CORPUS)"
    exit 0
fi
export CARGO_TARGET_DIR=target
cargo build --release --quiet --features full --bin deckle
exec python3 scripts/bench_review.py --corpus "$corpus/logs" --deckle target/release/deckle --part "$part"
