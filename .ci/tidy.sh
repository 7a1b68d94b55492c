#!/usr/bin/env bash
# clang-tidy over the sources of a build folder: .ci/tidy.sh BUILD [FILE...]. Two at a time; any finding fails.
set -euo pipefail
build=$1
shift
if [[ $# -eq 0 ]]; then
  mapfile -t files < <(git ls-files 'runtime/*.cpp' 'kernels/*.cpp' 'models/*.cpp' 'probes/*.cpp' 'attribution/*.cpp' 'tools/*.cpp')
else
  files=("$@")
fi
printf '%s\n' "${files[@]}" | xargs -P "$(nproc)" -n 4 clang-tidy-19 -p "$build" --quiet --extra-arg=-Wno-unknown-warning-option --extra-arg=-Wno-deprecated-declarations \
    --extra-arg=-idirafter"$(g++ -print-file-name=include)" 2>&1 | { grep -v 'warnings generated\.$' || true; }
