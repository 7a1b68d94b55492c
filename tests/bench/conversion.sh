#!/usr/bin/env bash
# Times convert-weights against `cp` followed by `openssl dgst -sha256` of the same file, which is in the page cache:
#   tests/bench/conversion.sh CHECKPOINT [BUILD] [ROUNDS]
# The two take turns; minima count. A checkpoint of 346 MB: torch.save(torchvision.models.vit_b_16().state_dict(), FILE).
set -euo pipefail
checkpoint=$1 tools=${2:-build/release}/tools rounds=${3:-7}
folder=$(mktemp -d "${TMPDIR:-/tmp}/hp-conversion.XXXXXX")
trap 'rm -rf "$folder"' EXIT
cat "$checkpoint" > /dev/null

milliseconds() { # that a command takes
  local begin=$EPOCHREALTIME
  "$@" > /dev/null
  local end=$EPOCHREALTIME
  echo $(((${end/./} - ${begin/./}) / 1000))
}
copy() {
  cp "$checkpoint" "$folder/copy"
  openssl dgst -sha256 "$folder/copy"
}
convert() { "$tools/convert-weights" "$checkpoint" -o "$folder/converted.safetensors"; }

best_copy=1000000 best_convert=1000000
for ((round = 0; round < rounds; ++round)); do
  rm -f "$folder"/*
  taken=$(milliseconds copy) && ((taken < best_copy)) && best_copy=$taken
  taken=$(milliseconds convert) && ((taken < best_convert)) && best_convert=$taken
done
printf '%s bytes: cp and openssl dgst %d ms, convert-weights %d ms, ratio %d.%02d\n' "$(stat -Lc %s "$checkpoint")" \
  "$best_copy" "$best_convert" $((best_convert / best_copy)) $((best_convert * 100 / best_copy % 100))
