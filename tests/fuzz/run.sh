#!/usr/bin/env bash
# Fuzzes the readers of foreign files: tests/fuzz/run.sh SECONDS [TARGET...] (all: legacy zip safetensors experiment voc
# image). As many run at once as JOBS says (default: one per core). What is found lies in build/fuzz/findings; run
# build/fuzz/tests/fuzz/fuzz_TARGET FILE to see it again. The corpus grows in build/fuzz/corpus.
set -euo pipefail
shopt -s nullglob
cd "$(dirname "$0")/../.."
seconds=${1:?usage: tests/fuzz/run.sh SECONDS [TARGET...]}
shift
targets=("$@")
[[ $# -gt 0 ]] || targets=(legacy zip safetensors experiment voc image)

[[ ${FUZZ_BUILD:-yes} == no ]] || cmake --preset fuzz >/dev/null
# FUZZ_BUILD=no runs what is there.
[[ ${FUZZ_BUILD:-yes} == no ]] || cmake --build build/fuzz --target "${targets[@]/#/fuzz_}"

# Seeds of its own, and what other tests keep.
fixtures=tests/tools/checkpoints/files
declare -A shared=(
  [legacy]="$fixtures/bare_legacy.pth $fixtures/protocol4_legacy.pth $fixtures/training_legacy.pth $fixtures/whole_module.pth"
  [zip]="$fixtures/bare_zip.pth $fixtures/protocol4_zip.pth $fixtures/training_zip.pth $fixtures/torchscript.pt"
  [safetensors]="$fixtures/expected.safetensors"
  [experiment]="$(echo experiments/*.json)"
  [voc]=""
  [image]="$(echo tests/golden/images/*.{jpg,png,bmp})"
)
for target in "${targets[@]}"; do
  mkdir -p "build/fuzz/corpus/$target" build/fuzz/findings
  for seed in tests/fuzz/seeds/"$target"/* ${shared[$target]}; do
    cp "$seed" "build/fuzz/corpus/$target/"
  done
done

one() {
  local log=build/fuzz/$1.log code=0
  "build/fuzz/tests/fuzz/fuzz_$1" -max_total_time="$2" -timeout=10 -rss_limit_mb=2048 -max_len=16384 \
    -print_final_stats=1 -artifact_prefix="build/fuzz/findings/$1-" "build/fuzz/corpus/$1" >"$log" 2>&1 || code=$?
  times >>"$log"  # the second line: of the program, user and system
  if [[ $code == 0 ]]; then
    printf '%-12s %s\n' "$1" "$(grep -o 'Done .*' "$log" | tail -1), $(grep -o 'cov: [0-9]*' "$log" | tail -1), processor $(tail -1 "$log")"
  else
    printf '%-12s FINDING\n' "$1"
    tail -n 60 "$log"
    return 1
  fi
}
export -f one
export ASAN_OPTIONS=detect_leaks=1:allocator_may_return_null=0 UBSAN_OPTIONS=print_stacktrace=1
printf '%s\n' "${targets[@]}" | xargs -P "${JOBS:-$(nproc)}" -I{} bash -c "one {} $seconds"
