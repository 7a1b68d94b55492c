#!/usr/bin/env bash
# Installs the libraries that peers.py and peer_experiment.py time hp against, in a virtual environment outside the
# repository: tests/bench/peers-setup.sh [VENV]            (default: /opt/hp-peers; about 1.5 GB of downloads)
#
# torch from PyPI is linked with CUDA. Where a CUDA 13 toolkit with cuDNN is installed (CUDA_HOME, default
# /usr/local/cuda), its libraries are used and only what it lacks is downloaded; elsewhere torch's own are installed.
# Nothing here uses a GPU. Peers run as VENV/bin/peers-python, which sets the library path.
set -euo pipefail
venv=${1:-/opt/hp-peers}
cuda=${CUDA_HOME:-/usr/local/cuda}

python=$(command -v /usr/bin/python3 || command -v python3)
[[ -x $venv/bin/python ]] || "$python" -m venv "$venv" # needs Debian's python3-venv
install() { "$venv/bin/pip" install --quiet --disable-pip-version-check --no-cache-dir "$@"; }

install numpy==2.4.6 pillow typing-extensions sympy networkx jinja2 fsspec filelock tqdm safetensors==0.8.0 \
  "setuptools<81" packaging
# NCCL as torch asks for it, always: a toolkit's may be older and lack symbols.
install --no-deps torch==2.15.0 torchvision==0.29.2 zennit==0.5.1 captum==0.9.0 nvidia-nccl-cu13==2.30.7
install --no-deps onnx==1.23.2 onnxruntime==1.32.0 openvino==2026.4.1
install --no-deps timm==1.0.31 open_clip_torch==3.3.0 bcos==0.1.3 einops==0.8.2 onnxscript==0.7.2 onnx-ir==1.1.0
install pyyaml ftfy regex huggingface_hub  # what timm and open_clip import
install protobuf flatbuffers ml-dtypes matplotlib  # no openvino-telemetry: it leaves a child process behind

# Whether a library is in the environment or the toolkit.
present() { [[ -n $(find -L "$venv"/lib/python3*/site-packages/nvidia "$cuda/lib64" "$cuda/extras/CUPTI/lib64" \
  -name "$1" 2>/dev/null || true) ]]; }
needed=(libcudart.so.13:nvidia-cuda-runtime libcublas.so.13:nvidia-cublas libcudnn.so.9:nvidia-cudnn-cu13
  libcufft.so.12:nvidia-cufft libcurand.so.10:nvidia-curand libcusolver.so.12:nvidia-cusolver
  libcusparse.so.12:nvidia-cusparse libnvJitLink.so.13:nvidia-nvjitlink libnvrtc.so.13:nvidia-cuda-nvrtc
  libcupti.so.13:nvidia-cuda-cupti libnvtx3interop.so.1:nvidia-nvtx libcufile.so.0:nvidia-cufile
  libcusparseLt.so.0:nvidia-cusparselt-cu13 libnvshmem_host.so.3:nvidia-nvshmem-cu13)
for pair in "${needed[@]}"; do
  present "${pair%%:*}" || install --no-deps "${pair#*:}"
done

cat >"$venv/bin/peers-python" <<END
#!/usr/bin/env bash
folders=\$(find "$venv"/lib/python3*/site-packages/nvidia -type d -name lib 2>/dev/null | paste -sd:)
export LD_LIBRARY_PATH="\$folders:$cuda/lib64:$cuda/extras/CUPTI/lib64\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}"
exec "$venv/bin/python" "\$@"
END
chmod +x "$venv/bin/peers-python"
"$venv/bin/peers-python" -W ignore - <<'END'
import captum, onnx, onnxruntime, openvino, torch, torchvision, zennit
from importlib.metadata import version
print(", ".join(f"{name} {version(name)}" for name in
                ("torch", "torchvision", "zennit", "captum", "onnx", "onnxruntime", "openvino", "numpy")))
END
