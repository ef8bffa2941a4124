#!/bin/sh
# Fuzzes each target, or those named, for a number of seconds: ./run.sh 60 [target…]. Fails with the first finding.
set -eu
cd "$(dirname "$0")"
seconds=${1:-60}
[ $# -gt 0 ] && shift
[ $# -gt 0 ] || set -- $(sed -n 's/^path = "targets\/\(.*\)\.rs"$/\1/p' Cargo.toml)
cargo build --release --quiet --locked
for target in "$@"; do
    mkdir -p "corpus/$target" "artifacts/$target"
    log="artifacts/$target/log"
    cargo run --release --quiet --bin "$target" -- "corpus/$target" \
        -artifact_prefix="artifacts/$target/" -max_total_time="$seconds" -print_final_stats=1 \
        >"$log" 2>&1 || { tail -n 40 "$log"; exit 1; }
    echo "$target: $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") inputs," \
        "$(ls "corpus/$target" | wc -l) kept, no finding"
done
