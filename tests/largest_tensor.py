"""How large a tensor an operation makes, to show that something is never held whole."""

from __future__ import annotations

import torch
from torch.utils._python_dispatch import TorchDispatchMode


class LargestTensor(TorchDispatchMode):
    """Bytes of the largest tensor that any operation inside makes.

    PyTorch has one thread inside: what other threads do would not be seen.
    """

    bytes = 0

    def __enter__(self):
        self.threads = torch.get_num_threads()
        torch.set_num_threads(1)
        return super().__enter__()

    def __exit__(self, *error):
        torch.set_num_threads(self.threads)
        return super().__exit__(*error)

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        if isinstance(out, torch.Tensor):
            self.bytes = max(self.bytes, out.numel() * out.element_size())
        return out
