"""A VGG of a few channels under any head: every code path of the real one in milliseconds."""

import torch

from sceneparse.models import FCN, ModelOptions
from sceneparse.models.build import assemble
from sceneparse.models.vgg import VGG

WIDTHS = (4, 6, 8, 10, 12)
FC_WIDTH = 16
BLOCKS = (1, 2, 1, 1, 2)


def narrow_vgg(options=None, *, blocks=BLOCKS, batch_norm=False):
    options = options or ModelOptions()
    return VGG(
        blocks,
        batch_norm=batch_norm,
        pooling=options.pooling,
        dropout=options.dropout,
        padding=options.padding,
        widths=WIDTHS,
        fc_width=FC_WIDTH,
    )


def narrow_fcn(family="fcn8s", options=None, *, num_classes=5, blocks=BLOCKS, batch_norm=False) -> FCN:
    options = options or ModelOptions()
    model = assemble(family, narrow_vgg(options, blocks=blocks, batch_norm=batch_norm), num_classes, options)
    vgg = "vgg16_bn" if batch_norm else "vgg16"
    model.architecture = {"name": f"{family}-{vgg}", "num_classes": num_classes, "options": options.to_dict()}
    return model


@torch.no_grad()
def randomized(model):
    """The same network with every weight random: scores and some norms start at zero, hiding mistakes."""
    for name, tensor in model.named_parameters():
        if name.startswith("head.") or name.endswith("bias"):
            tensor.normal_(0, 0.3)
        elif tensor.ndim == 1:
            tensor.uniform_(0.5, 1.5)
    return model
