"""Arguments that several verbs of the command line take."""

from __future__ import annotations

from sceneparse.cli_types import scales
from sceneparse.cli_verb import Parser

MODEL = "run folder that train made, a bundle folder (its model/), or a name; see: sceneparse models"
DATA = "folder in a recognised layout, or a dataset.yaml"
LABEL_SETS = "ade20k, ade20k-151, camvid, cityscapes, cityscapes-train-ids or voc"
"""Names in :data:`sceneparse.labels.LABEL_SETS`, for which the help pages would wait for numpy."""


def add_averaging(parser: Parser) -> None:
    """The flags of one prediction: what it averages over, where and how it is computed."""
    parser.add_argument(
        "--scales",
        type=scales,
        default=(1.0,),
        metavar="X,...",
        help="sizes to average over, like 0.75,1,1.25 (default: 1); time grows with their squares",
    )
    parser.add_argument("--flip", action="store_true", help="average over the mirrored picture too")
    parser.add_argument("--device", default="auto", metavar="D", help="auto (default), cpu, cuda or cuda:N")
    parser.add_argument(
        "--engine",
        default="auto",
        choices=("auto", "eager", "compiled", "openvino"),
        help="auto: what compiled has left beside the model, otherwise the network packed for the processor "
        "(default); eager: PyTorch's layers in float32; compiled: made for this processor, a minute once; "
        "openvino: Intel's runtime, if installed",
    )


def add_label_set(parser: Parser) -> None:
    """The flag that names other classes."""
    parser.add_argument(
        "--label-set", metavar="NAME", help=f"classes instead of the data's own: {LABEL_SETS}"
    )
