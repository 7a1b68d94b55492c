#!/usr/bin/env bash
# The real run: trained CIFAR ResNets and real images, from checkpoint to tables: experiments/real-run.sh BUILD [OUTPUT]
# Skips where ../shared (checkpoints and images) is absent. Checks what must come out and prints the tables.
set -euo pipefail
cd "$(dirname "$0")/.."
build=$(realpath "$1") output=$(realpath -m "${2:-out}") shared=$(realpath -m ../shared/data)
if [[ ! -d $shared ]]; then
  echo "skipped: $shared is not here"
  exit 0
fi
mkdir -p "$output/weights"
"$build/tools/convert-weights" "$shared/checkpoints/resnet56-4bfd9763.th" -o "$output/weights/resnet56.safetensors"
for experiment in cifar10 blood-cells tiny-imagenet; do
  start=$(date +%s)
  "$build/tools/hp-run" "experiments/$experiment.json" --output "$output/$experiment" \
    --set "backbone.weights=$output/weights/resnet56.safetensors"
  echo "$experiment: $(($(date +%s) - start)) s"
done
"$build/tests/real/real-run-check" "$output/cifar10/results.json"
