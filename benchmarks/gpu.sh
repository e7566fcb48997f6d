#!/usr/bin/env bash
# The benchmarks that need a GPU, in one call of under ten minutes; first the test of the GPU's kernels.
#   bash benchmarks/gpu.sh [PYTHON]      results also go to $OUT where that is set
set -uo pipefail
cd "$(dirname "$0")/.."
python=${1:-python3}
export PYTHONPATH=src PYTHONUNBUFFERED=1
"$python" -c '
from importlib.util import find_spec
names = "lightning timm torchmetrics scipy safetensors matplotlib rich tensorboard yaml pycocotools PIL".split()
print("not installed here: " + (", ".join(n for n in names if find_spec(n) is None) or "nothing"))'
timeout 60 "$python" tests/kernels/interpreted.py cuda && echo "the kernels compute what PyTorch does" || exit 1
"$python" benchmarks/gpu.py
status=$?
if [ -n "${OUT:-}" ]; then cp benchmarks/results/gpu_*.json "$OUT"; fi
exit $status
