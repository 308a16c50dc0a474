#!/usr/bin/env bash
# Runs one target of tests/fuzz_python.py: run_python.sh PYTHON TARGET SECONDS. An
# input that fails is left in build/fuzz/failures.
set -euo pipefail
cd "$(dirname "$0")/../.."
. native/fuzz/run_logged.sh

python=$1
name=$2
seconds=$3
log=build/fuzz/python-$name.log
sanitizers=$("$python" -P -c 'import atheris; print(atheris.path())')/asan_with_fuzzer.so

run_logged "$name" "$log" env LD_PRELOAD="$sanitizers" PYTHONMALLOC=malloc \
    PYTHONPATH=tests PYTHONSAFEPATH=1 ASAN_OPTIONS=detect_leaks=0 "$python" tests/fuzz_python.py "$name" \
    -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len=4096 \
    -print_final_stats=1 -artifact_prefix="build/fuzz/failures/python-$name-" \
    "build/fuzz/python/$name"
