# Sourced by run.sh and run_python.sh.
# run_logged NAME LOG COMMAND...  runs COMMAND with its output in LOG, and says how it ended.
run_logged() {
    local name=$1 log=$2
    shift 2
    if "$@" >"$log" 2>&1; then
        printf '%s: no failure; %s\n' "$name" "$(grep '^Done ' "$log")"
    else
        tail -n 60 "$log"
        printf '%s: FAILED, see %s\n' "$name" "$log" >&2
        return 1
    fi
}
