#!/usr/bin/env bash
# Trains weights/scenes-resnet.safetensors again (weights/README.md): scenes-weights.sh [BUILD_FOLDER]
set -euo pipefail
cd "$(dirname "$0")/.."
tools=${1:-build/release}/tools
"$tools/hp-run" experiments/scenes-resnet.json
"$tools/convert-weights" out/scenes-resnet/trained.safetensors -o weights/scenes-resnet.safetensors
sha256sum weights/scenes-resnet.safetensors
