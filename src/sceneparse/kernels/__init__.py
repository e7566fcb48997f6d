"""Losses and labels of upsampled scores without the upsampled scores: in C, in PyTorch, on the GPU.

Takes tensors and gives tensors; knows neither networks nor data. What is computed is said in
:mod:`sceneparse.training.loss` and :mod:`sceneparse.models.upsample`, which choose among these.
"""
