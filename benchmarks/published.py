"""Published figures that ours stand beside, each with its source; fractions, None where the source has none.

Split, rule and start decide what may be compared. CamVid's val is from a sequence that train holds too: the
same network has 10 to 12 points less on test.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Published:
    """A row.

    Args:
        network: its name.
        start: of the weights: "random", or the data they were trained on before.
        split: what was scored.
        mean_iou: a figure, or the least and the greatest of several.
        pixel_accuracy: None where the source does not say it.
        parameters_million: likewise.
        rule: what is counted, as far as the source says it.
        source: where the figure stands.
        per_class: IoU by the name of the class as in the data set.
    """

    network: str
    start: str
    split: str
    mean_iou: float | tuple[float, float]
    source: str
    pixel_accuracy: float | None = None
    parameters_million: float | None = None
    rule: str = "not said"
    per_class: dict[str, float] = field(default_factory=dict)


_FCN_TF = "[FCN-Segmentation-TensorFlow](https://github.com/fmahoudeau/FCN-Segmentation-TensorFlow)"
_ESPNET = "[ESPNet](https://github.com/sacmehta/ESPNet), README"
_TIRAMISU = "[FC-DenseNet](https://arxiv.org/abs/1611.09326), table 3"
_HARDNET = "[HarDNet](https://arxiv.org/abs/1909.00948), table 2"
_SEGNET = "[SegNet](https://arxiv.org/abs/1511.00561), table 2"
_ADE = "[ADE20K](https://arxiv.org/abs/1608.05442), scene parsing benchmark"
_CSAIL = (
    "[semantic-segmentation-pytorch](https://github.com/CSAILVision/semantic-segmentation-pytorch), README"
)
_MM = "[mmsegmentation](https://github.com/open-mmlab/mmsegmentation), FCN, 80,000 steps of 16"
_MM_CONVNEXT = "[mmsegmentation](https://github.com/open-mmlab/mmsegmentation), ConvNeXt, 160,000 steps of 16"
_LIGHTLY = "[LightlyTrain](https://docs.lightly.ai/train/0.11.3/semantic_segmentation.html)"
MEASURED_HERE = "measured for this project"
"""Source of a figure of somebody's published weights, or of somebody's network, that no paper has."""

_CLASSES = (
    *("building", "tree", "sky", "car", "sign symbol", "road"),
    *("pedestrian", "fence", "pole", "pavement", "bicyclist"),
)
"""In the order of the tables of FC-DenseNet and HarDNet."""


def _by_class(*per_cent: float) -> dict[str, float]:
    return {name: value / 100 for name, value in zip(_CLASSES, per_cent, strict=True)}


PUBLISHED: dict[str, tuple[Published, ...]] = {
    "camvid": (
        Published(
            network="FCN-8s VGG16",
            start="ImageNet",
            split="val",
            mean_iou=0.732,
            pixel_accuracy=0.945,
            source=_FCN_TF,
        ),
        Published(
            network="FCN-16s VGG16",
            start="ImageNet",
            split="val",
            mean_iou=0.704,
            pixel_accuracy=0.939,
            source=_FCN_TF,
        ),
        Published(
            network="ESPNet, its published weights",
            start="random",
            split="val",
            mean_iou=0.664,
            parameters_million=0.35,
            rule="void ignored",
            source=MEASURED_HERE,
        ),
        Published(
            network="FCN-32s VGG16",
            start="ImageNet",
            split="val",
            mean_iou=0.650,
            pixel_accuracy=0.926,
            source=_FCN_TF,
        ),
        Published(
            network="FPN over ResNet18, 40 minutes on two cores in bf16",
            start="random",
            split="val",
            mean_iou=0.605,
            parameters_million=13.0,
            rule="void ignored",
            source=MEASURED_HERE,
        ),
        Published(
            network="FC-HarDNet84",
            start="random",
            split="test",
            mean_iou=0.677,
            pixel_accuracy=0.911,
            parameters_million=8.4,
            rule="void ignored",
            source=_HARDNET,
            per_class=_by_class(81.4, 76.2, 92.9, 78.3, 48.9, 94.6, 61.9, 37.9, 38.2, 80.5, 54.0),
        ),
        Published(
            network="FC-DenseNet103",
            start="random",
            split="test",
            mean_iou=0.669,
            pixel_accuracy=0.915,
            parameters_million=9.4,
            rule="void ignored",
            source=_TIRAMISU,
            per_class=_by_class(83.0, 77.3, 93.0, 77.3, 43.9, 94.5, 59.6, 37.1, 37.8, 82.2, 50.5),
        ),
        Published(
            network="FC-DenseNet67",
            start="random",
            split="test",
            mean_iou=0.658,
            pixel_accuracy=0.908,
            parameters_million=3.5,
            rule="void ignored",
            source=_TIRAMISU,
        ),
        Published(
            network="FC-DenseNet, trained again by others",
            start="random",
            split="test",
            mean_iou=(0.579, 0.655),
            source="several repositories, collected for this project",
        ),
        Published(
            network="SegNet, 3,433 pictures of several data sets",
            start="ImageNet",
            split="test",
            mean_iou=0.601,
            pixel_accuracy=0.904,
            parameters_million=29.5,
            source=_SEGNET,
        ),
        Published(
            network="FCN-8s VGG16",
            start="ImageNet",
            split="test",
            mean_iou=0.570,
            pixel_accuracy=0.880,
            parameters_million=134.5,
            rule="void ignored",
            source=_TIRAMISU,
            per_class=_by_class(77.8, 71.0, 88.7, 76.1, 32.7, 91.2, 41.7, 24.4, 19.9, 72.7, 31.0),
        ),
        Published(
            network="ESPNet",
            start="random",
            split="test",
            mean_iou=0.556,
            parameters_million=0.35,
            source=_ESPNET,
        ),
        Published(
            network="SegNet, CamVid alone",
            start="ImageNet",
            split="test",
            mean_iou=(0.464, 0.556),
            parameters_million=29.5,
            source=f"{_TIRAMISU}; {_ESPNET}",
        ),
        Published(
            network="ESPNet, its published weights",
            start="random",
            split="test",
            mean_iou=0.538,
            parameters_million=0.35,
            rule="void ignored",
            source=MEASURED_HERE,
        ),
        Published(
            network="ENet",
            start="random",
            split="test",
            mean_iou=0.513,
            parameters_million=0.37,
            source=_ESPNET,
        ),
        Published(
            network="FPN over ResNet18, 40 minutes on two cores in bf16",
            start="random",
            split="test",
            mean_iou=0.506,
            parameters_million=13.0,
            rule="void ignored",
            source=MEASURED_HERE,
        ),
    ),
    "ade20k": (
        Published(
            network="EoMT ViT-L",
            start="DINOv3",
            split="val",
            mean_iou=0.591,
            parameters_million=303.2,
            source=_LIGHTLY,
        ),
        Published(
            network="EoMT ViT-B",
            start="DINOv3",
            split="val",
            mean_iou=0.544,
            parameters_million=85.7,
            source=_LIGHTLY,
        ),
        Published(
            network="UPerNet ConvNeXt-B, crop 640",
            start="ImageNet-22k",
            split="val",
            mean_iou=0.521,
            source=_MM_CONVNEXT,
        ),
        Published(
            network="FCN ResNet101, stride 8",
            start="ImageNet",
            split="val",
            mean_iou=0.396,
            source=_MM,
        ),
        Published(
            network="FCN ResNet50, stride 8",
            start="ImageNet",
            split="val",
            mean_iou=0.359,
            source=_MM,
        ),
        Published(
            network="Cascade-DilatedNet",
            start="ImageNet",
            split="val",
            mean_iou=0.349,
            pixel_accuracy=0.745,
            source=_ADE,
        ),
        Published(
            network="ResNet18 dilated, C1",
            start="ImageNet",
            split="val",
            mean_iou=0.338,
            pixel_accuracy=0.761,
            source=_CSAIL,
        ),
        Published(
            network="DilatedNet",
            start="ImageNet",
            split="val",
            mean_iou=0.323,
            pixel_accuracy=0.736,
            source=_ADE,
        ),
        Published(
            network="FCN-8s VGG",
            start="ImageNet",
            split="val",
            mean_iou=0.294,
            pixel_accuracy=0.713,
            source=_ADE,
        ),
        Published(
            network="SegNet",
            start="ImageNet",
            split="val",
            mean_iou=0.216,
            pixel_accuracy=0.710,
            source=_ADE,
        ),
    ),
}
"""By the layout of the data set, the best of a split first."""
