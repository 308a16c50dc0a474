#!/usr/bin/env bash
# Runs one fuzz target: run.sh NAME SECONDS. Seeds are read from
# build/fuzz/corpus/NAME, where findings are kept too, and from
# native/fuzz/corpus/NAME; an input that fails is left in build/fuzz/failures.
set -euo pipefail
cd "$(dirname "$0")/../.."
. native/fuzz/run_logged.sh

name=$1
seconds=$2
log=build/fuzz/$name.log
mkdir -p "build/fuzz/corpus/$name" build/fuzz/failures
corpora=("build/fuzz/corpus/$name")
if [ -d "native/fuzz/corpus/$name" ]; then
    corpora+=("native/fuzz/corpus/$name")
fi

run_logged "$name" "$log" "build/fuzz/$name" -max_total_time="$seconds" -timeout=10 \
    -rss_limit_mb=1024 -dict=native/fuzz/der.dict -print_final_stats=1 \
    -artifact_prefix="build/fuzz/failures/$name-" \
    "${corpora[@]}"
