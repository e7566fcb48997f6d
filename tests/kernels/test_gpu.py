"""The GPU's kernels: what they compute by Triton's interpreter, that they compile, and that they may fail."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from sceneparse.kernels import bilinear

needs_triton = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="Triton is not installed: nothing runs it here"
)


@needs_triton
def test_loss_gradient_and_labels():
    script = Path(__file__).with_name("interpreted.py")
    done = subprocess.run(
        [sys.executable, str(script)],
        env={**os.environ, "TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@needs_triton
def test_the_kernels_compile_for_a_gpu(tmp_path, monkeypatch):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from sceneparse.kernels import gpu

    kinds = {"labels": "*i32", "row_begin": "*i32", "column_begin": "*i32", "smoothing": "fp32"}
    kinds |= dict.fromkeys(("h", "w", "height", "width", "classes"), "i32")
    kinds |= dict.fromkeys(("PIXELS", "CLASSES"), "constexpr")
    for kernel in (gpu._loss_kernel, gpu._gradient_kernel, gpu._labels_kernel):
        signature = {name: kinds.get(name, "*fp32") for name in kernel.arg_names}
        source = ASTSource(kernel, signature, constexprs={"PIXELS": 64, "CLASSES": 32})
        made = triton.compile(source, GPUTarget("cuda", 80, 32), options={"enable_fp_fusion": True})
        assert made.asm["ptx"]


def test_where_triton_does_not_run_pytorch_does(monkeypatch):
    """A device that Triton cannot use: the trial says why and nothing is raised."""
    trouble = bilinear._triton_trouble.__wrapped__(torch.device("cpu"))
    assert trouble
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(bilinear, "_triton_trouble", lambda device: "no such GPU")
    assert bilinear.describe()["gpu"] == "PyTorch (no such GPU)"
