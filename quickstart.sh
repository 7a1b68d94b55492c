#!/usr/bin/env bash
# From nothing to a report on what probes' explanations show:
#   ./quickstart.sh [--output DIR]                                 pictures made by seed, the weights that come along
#   ./quickstart.sh --data DIR --checkpoint FILE [--output DIR]    your own pictures and weights
# DIR holds train/<class>/*.jpg and test/<class>/*.jpg; FILE is a ResNet checkpoint (.th, .pth or .safetensors).
set -euo pipefail
usage() {
  sed -n '2,5s/^# //p' "$0"
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
[[ -n $data && -n $checkpoint || -z $data && -z $checkpoint ]] || usage
output=$(realpath -m "$output")
if [[ -n $data ]]; then
  experiment=quickstart-images data=$(realpath "$data") checkpoint=$(realpath "$checkpoint")
fi
cd "$(dirname "$0")"

.ci/install.sh packages.txt
cmake --preset release > /dev/null
cmake --build --preset release --target convert-weights hp-run
mkdir -p "$output"
build/release/tools/convert-weights "${checkpoint:-weights/scenes-resnet.safetensors}" -o "$output/backbone.safetensors"
settings=(--set "backbone.weights=$output/backbone.safetensors")
if [[ -n $data ]]; then
  settings+=(--set "data.root=$data")
else
  cat << 'END'

One frozen network looks at pictures of textured shapes whose pixels are known exactly. Four probes (classifiers on its
features) learn the same ten classes: linear or of three layers, ordinary or B-cos, by cross entropy (ce) or binary cross
entropy (bce). Four methods then say which pixels speak for a class: ixg, intgrad, gradcam, lrp.
  GridPG   share of a map's positive evidence that lies in the right one of 3x3 pictures; without any preference 0.111
  EPG      share that lies on the object (epg-mask) or in its box (epg-box)
  entropy  and the Gini index: how concentrated a map is

END
fi
build/release/tools/hp-run "experiments/${experiment:-quickstart}.json" --output "$output/run" "${settings[@]}"
