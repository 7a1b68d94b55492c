#!/usr/bin/env bash
# Fuzzes the readers of foreign files: tests/fuzz/run.sh SECONDS [TARGET...] (all: legacy zip safetensors keymaps experiment
# voc image), each for SECONDS of processor time. As many run at once as JOBS says (default: one per core). What is found lies
# in build/fuzz/findings; run build/fuzz/tests/fuzz/fuzz_TARGET FILE to see it again. The corpus grows in
# build/fuzz/corpus. Where the processes may be paused, FUZZ_TIMEOUT (10 seconds by the clock for one input) must be longer.
set -euo pipefail
shopt -s nullglob
cd "$(dirname "$0")/../.."
seconds=${1:?usage: tests/fuzz/run.sh SECONDS [TARGET...]}
shift
targets=("$@")
[[ $# -gt 0 ]] || targets=(legacy zip safetensors keymaps experiment voc image)

[[ ${FUZZ_BUILD:-yes} == no ]] || cmake --preset fuzz >/dev/null
# FUZZ_BUILD=no runs what is there.
[[ ${FUZZ_BUILD:-yes} == no ]] || cmake --build build/fuzz --target "${targets[@]/#/fuzz_}"

# Seeds of its own, and what other tests keep.
fixtures=tests/tools/checkpoints/files
declare -A shared=(
  [legacy]="$fixtures/bare_legacy.pth $fixtures/protocol4_legacy.pth $fixtures/training_legacy.pth $fixtures/whole_module.pth"
  [zip]="$fixtures/bare_zip.pth $fixtures/protocol4_zip.pth $fixtures/training_zip.pth $fixtures/torchscript.pt $fixtures/towers_trace.pt"
  [safetensors]="$fixtures/expected.safetensors"
  [experiment]="$(echo experiments/*.json)"
  [keymaps]=""
  [voc]=""
  [image]="$(echo tests/golden/images/*.{jpg,png,bmp})"
)
for target in "${targets[@]}"; do
  mkdir -p "build/fuzz/corpus/$target" build/fuzz/findings
  for seed in tests/fuzz/seeds/"$target"/* ${shared[$target]}; do
    cp "$seed" "build/fuzz/corpus/$target/"
  done
done

# Processor time in seconds of the programs that this shell has run; `times` in a pipe would tell of the pipe's.
spent() {
  times >"build/fuzz/$1.times"
  awk 'NR == 2 { for (i = 1; i <= 2; ++i) { split($i, part, /[ms]/); sum += part[1] * 60 + part[2] } printf "%d", sum }' \
    "build/fuzz/$1.times"
}

# Slices of a minute, until the target has had its processor time: beside other work the clock says little.
one() {
  local log=build/fuzz/$1.log code=0 left=$2
  : >"$log"
  while ((left > 0 && code == 0)); do
    "build/fuzz/tests/fuzz/fuzz_$1" -max_total_time=$((left < 60 ? left : 60)) -timeout="${FUZZ_TIMEOUT:-10}" -rss_limit_mb=2048 -max_len=16384 \
      -print_final_stats=1 -artifact_prefix="build/fuzz/findings/$1-" "build/fuzz/corpus/$1" >>"$log" 2>&1 || code=$?
    spent "$1" >"build/fuzz/$1.seconds"
    left=$(($2 - $(cat "build/fuzz/$1.seconds")))
  done
  if [[ $code == 0 ]]; then
    local runs
    runs=$(awk '/^Done / { sum += $2 } END { print sum }' "$log")
    printf '%-12s %s executions, %s, %s s of processor time\n' "$1" "$runs" "$(grep -o 'cov: [0-9]*' "$log" | tail -1)" "$(cat "build/fuzz/$1.seconds")"
  else
    printf '%-12s FINDING\n' "$1"
    tail -n 60 "$log"
    return 1
  fi
}
export -f one spent
export ASAN_OPTIONS=detect_leaks=1:allocator_may_return_null=0 UBSAN_OPTIONS=print_stacktrace=1
printf '%s\n' "${targets[@]}" | xargs -P "${JOBS:-$(nproc)}" -I{} bash -c "one {} $seconds"
