#!/usr/bin/env bash
# From a PyTorch checkpoint and a folder of images to a report:
#   ./quickstart.sh --data DIR --checkpoint FILE [--output DIR]
# DIR holds train/<class>/*.jpg and test/<class>/*.jpg; FILE is a ResNet checkpoint (.th, .pth or .safetensors).
set -euo pipefail
usage() {
  sed -n '2,4s/^# //p' "$0"
  exit 2
}
data= checkpoint= output=out/quickstart
while [[ $# -gt 0 ]]; do
  case $1 in
    --data | --checkpoint | --output)
      [[ $# -ge 2 ]] || usage
      printf -v "${1#--}" %s "$2"
      shift 2
      ;;
    *) usage ;;
  esac
done
[[ -n $data && -n $checkpoint ]] || usage
data=$(realpath "$data") checkpoint=$(realpath "$checkpoint") output=$(realpath -m "$output")
cd "$(dirname "$0")"
.ci/install.sh packages.txt
cmake --preset release >/dev/null
cmake --build --preset release --target convert-weights hp-run
mkdir -p "$output"
build/release/tools/convert-weights "$checkpoint" -o "$output/backbone.safetensors"
build/release/tools/hp-run experiments/quickstart.json --output "$output/run" \
  --set "backbone.weights=$output/backbone.safetensors" --set "data.root=$data"
echo "report: $output/run/report.html"
