"""Losses and labels of upsampled scores without the upsampled scores, in C, in PyTorch, on the GPU; and
convolutions on the CPU.

Takes tensors and gives tensors; knows no data, and of networks only ``nn.Conv2d``, whose place its layers
take. What is computed of scores is said in :mod:`sceneparse.training.loss` and
:mod:`sceneparse.models.upsample`, which choose among these.
"""
