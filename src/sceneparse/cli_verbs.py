"""The verbs of the command line: their arguments, their help pages, and what each calls."""

from __future__ import annotations

from pathlib import Path

from sceneparse.cli_arguments import DATA, MODEL, add_averaging, add_label_set
from sceneparse.cli_data_verbs import DATA_VERBS
from sceneparse.cli_models_verb import MODELS_VERB
from sceneparse.cli_score_verbs import SCORE_VERBS
from sceneparse.cli_types import assignment, batch_size, size, tile
from sceneparse.cli_verb import Options, Parser, Verb


def _demo_arguments(parser: Parser) -> None:
    parser.add_argument(
        "--out", type=Path, default=Path("demo"), metavar="DIR", help="folder for everything (default: demo)"
    )


def _demo(options: Options) -> int:
    from sceneparse.demo import run_demo

    return run_demo(options.out, command=options.command)


# ---------------------------------------------------------------------- train


def _train_arguments(parser: Parser) -> None:
    parser.add_argument("data", metavar="DATA", help=DATA)
    parser.add_argument("--out", required=True, type=Path, metavar="RUN", help="run folder; new or empty")
    parser.add_argument(
        "--recipe", metavar="NAME", help="where the settings start from (default: fcn8s-tutorial); see below"
    )
    parser.add_argument(
        "--model",
        metavar="NAME",
        help="HEAD-BACKBONE, like fcn8s-vgg19 or fcn16s-resnet50; HEAD is fcn32s, fcn16s, fcn8s or fcn4s "
        "(the paper's), fcn8s-wide (the tutorial's), fcn8s-fused, fcn4s-fused, fcn2s-fused; BACKBONE: "
        "vgg11..vgg19, also with _bn, slimresnet20, slimresnet32, or any name of timm's; or "
        "smp/ARCH-ENCODER, of segmentation_models.pytorch; see: "
        "sceneparse models",
    )
    parser.add_argument(
        "--init",
        metavar="WEIGHTS",
        help="what the network starts from: imagenet (downloaded once), a file (.mat, .pth, .safetensors), "
        "a run of your own, camvid-small (which comes with sceneparse), or smp-hub/NAME; left out: random "
        "weights",
    )
    parser.add_argument("--size", type=size, metavar="H,W", help="training crop in pixels")
    parser.add_argument(
        "--batch-size",
        type=batch_size,
        metavar="N",
        help="images of one forward pass, on each device; auto: as many as memory allows, found by steps on "
        "zeros",
    )
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--steps", type=int, metavar="N", help="optimizer steps in all")
    length.add_argument("--epochs", type=float, metavar="N", help="passes over the training images in all")
    parser.add_argument("--lr", type=float, metavar="X", help="learning rate at its height")
    parser.add_argument("--precision", metavar="P", help="auto, 32, bf16 or 16")
    parser.add_argument("--device", metavar="D", help="auto, cpu, cuda or cuda:N")
    parser.add_argument(
        "--devices",
        type=int,
        metavar="N",
        help="processes that train together, each on a GPU of its own or a share of the processor; a step "
        "sees N times the batch size (default: 1). On several machines start this command with torchrun",
    )
    parser.add_argument("--seed", type=int, metavar="N", help="of everything random")
    parser.add_argument("--workers", type=int, metavar="N", help="processes that load ahead; -1: by machine")
    add_label_set(parser)
    parser.add_argument(
        "--class-weights",
        metavar="KIND",
        help="none (default), enet or median-frequency: rare classes count more",
    )
    parser.add_argument(
        "--skip-bad", action="store_true", default=None, help="leave out files with faults, and say how many"
    )
    parser.add_argument("--resume", action="store_true", help="go on with the run in the folder --out")
    parser.add_argument(
        "--deterministic",
        action="store_true",
        default=None,
        help="the same command gives the same weights, bit for bit on a CPU; slower on a GPU",
    )
    parser.add_argument(
        "--set",
        action="append",
        type=assignment,
        default=[],
        metavar="a.b=v",
        dest="assignments",
        help="any setting of RUN/config.yaml, like optimizer.lr=0.001; as often as needed",
    )


_TRAIN_SETTINGS = {
    "model": "model.name",
    "init": "model.init",
    "size": "augmentation.crop",
    "batch_size": "batch_size",
    "steps": "steps",
    "epochs": "epochs",
    "lr": "optimizer.lr",
    "precision": "precision",
    "device": "device",
    "devices": "devices",
    "seed": "seed",
    "workers": "workers",
    "label_set": "data.label_set",
    "class_weights": "loss.class_weights",
    "skip_bad": "data.skip_bad",
    "deterministic": "deterministic",
}


def _train(options: Options) -> int:
    import shlex

    from sceneparse import api
    from sceneparse.group import is_first_process

    given = {
        setting: getattr(options, flag)
        for flag, setting in _TRAIN_SETTINGS.items()
        if getattr(options, flag) is not None
    }
    result = api.train(
        options.data,
        options.out,
        recipe=options.recipe,
        settings=given | dict(options.assignments),
        resume=options.resume,
        command=options.command,
    )
    run = shlex.quote(str(options.out))
    if not is_first_process():
        return 0
    if result.stopped_by is not None:
        print(
            f"stopped at step {result.step} of {result.steps}, saved; go on with:\n"
            f"  sceneparse train {shlex.quote(options.data)} --out {run} --resume"
        )
        return 128 + result.stopped_by
    best = f"best mean IoU {result.mean_iou:.4f} at step {result.best_step}" if result.best_step else ""
    print(
        f"{options.out}: {result.step} steps, {best or 'never evaluated'}\n"
        f"report:  {options.out / 'report.html'}\n"
        f"predict: sceneparse predict {run} PHOTO --out predictions"
    )
    return 0


# ---------------------------------------------------------------------- predict


def _predict_arguments(parser: Parser) -> None:
    parser.add_argument(
        "model",
        metavar="MODEL",
        nargs="?",
        help=f"{MODEL}; left out: camvid-small, which comes with sceneparse",
    )
    parser.add_argument("inputs", metavar="INPUT", nargs="+", help="photos, folders or globs")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("predictions"),
        metavar="DIR",
        help="folder for the results (default: predictions)",
    )
    parser.add_argument(
        "--tile",
        type=tile,
        default="auto",
        metavar="auto|N",
        help="overlapping windows for large photos: auto where memory needs it (default), N their side in "
        "pixels, 0 never",
    )
    add_averaging(parser)


def _predict(options: Options) -> int:
    from sceneparse.prediction.files import predict_files
    from sceneparse.prediction.words import model_and_inputs

    # The parser takes the first of several words for the model.
    words = [*([options.model] if options.model is not None else []), *options.inputs]
    model, inputs = model_and_inputs(words)
    return predict_files(
        model,
        inputs,
        options.out,
        tile=options.tile,
        scales=options.scales,
        flip=options.flip,
        device=options.device,
        engine=options.engine,
    )


# ---------------------------------------------------------------------- report, env


def _report_arguments(parser: Parser) -> None:
    parser.add_argument("run", metavar="RUN", type=Path, help="run folder that train made")


def _report(options: Options) -> int:
    from rich.console import Console

    from sceneparse import api

    print(api.report(options.run, console=Console(stderr=True)))
    return 0


def _env(options: Options) -> int:
    from sceneparse import environment
    from sceneparse.prediction import engine

    for part, values in (environment.describe() | {"engine": engine.describe()}).items():
        for name, value in (values or {"source": "installed package"}).items():
            print(f"{f'{part} {name}':24} {value}")
    return 0


VERBS = (
    Verb(
        "demo",
        "draw scenes, train on them, evaluate, predict, write a report",
        "Needs no data, no network and no flags, and takes under three minutes on two\n"
        "cores: draws the built-in scenes, trains an FCN-8s on them from random weights,\n"
        "evaluates it on scenes it has not seen, predicts, and writes DIR/report.html.\n"
        "The same command again goes on where it was stopped.",
        "examples:\n  sceneparse demo\n  sceneparse demo --out scenes-demo",
        _demo_arguments,
        _demo,
    ),
    *DATA_VERBS,
    Verb(
        "train",
        "train a network on your images and masks; leaves a run folder",
        "Trains a network. DATA is one of\n"
        "  images/{training,validation} + annotations/{training,validation}   (ADE20K)\n"
        "  train + trainannot, val + valannot                                 (CamVid)\n"
        "  images/{train,val} + masks/{train,val} + classes.txt\n"
        "  a dataset.yaml that says where images and masks are and what the classes are\n"
        "Masks are PNGs whose pixels are class numbers. RUN gets the settings, numbers,\n"
        "curves, pictures, checkpoints, report.html, and model/, which predict and\n"
        "evaluate take.",
        "recipes:\n"
        "  fcn8s-tutorial      FCN-8s on VGG19, Adam 1e-4, batch 3, 200,000 steps (default)\n"
        "  fcn8s-paper         FCN-8s on VGG16, SGD as in the paper\n"
        "  camvid-small        CamVid from random weights on two cores: what predict uses\n"
        "  camvid-best         CamVid from random weights, as well as it can be done here\n"
        "  camvid-fcn8s-vgg19  CamVid with FCN-8s on VGG19 and batch norm\n"
        "  ade20k-fcn8s-vgg19  ADE20K with FCN-8s on VGG19 from ImageNet weights, a GPU\n"
        "  ade20k-modern       ADE20K with UPerNet on ConvNeXt-B, a large GPU\n"
        "  scenes-demo         what demo trains\n\n"
        "examples:\n"
        "  sceneparse train ADEChallengeData2016 --out runs/ade --init imagenet\n"
        "  sceneparse train camvid --out runs/camvid --recipe camvid-small\n"
        "  sceneparse train mydata --out runs/mine --model fcn8s-resnet18 \\\n"
        "      --init imagenet --size 256,256 --batch-size 8 --epochs 50\n"
        "  sceneparse train mydata --out runs/mine --resume      after a kill or Ctrl-C\n"
        "  sceneparse train mydata --out runs/new --init runs/mine     from its weights",
        _train_arguments,
        _train,
    ),
    *SCORE_VERBS,
    Verb(
        "predict",
        "parse photos: labels, overlays and class shares",
        "Writes for every photo\n"
        "  DIR/labels/NAME.png    class numbers as in the data the model was trained on,\n"
        "                         at the photo's own size, with the classes' colours\n"
        "  DIR/overlays/NAME.png  the photo under its classes, with a legend\n"
        "  DIR/shares.csv         share of pixels per class\n"
        "A photo that cannot be read is named, the others are done, and the exit code is 2.\n"
        "The first word is MODEL if it is a run, a bundle or a name, otherwise a photo:\n"
        "then the model that comes with sceneparse is used, a small network for streets\n"
        "seen from a car (CamVid's 11 classes; for research, not for commercial use).",
        "examples:\n"
        "  sceneparse predict street.jpg --out out\n"
        "  sceneparse predict runs/camvid street.jpg --out out\n"
        "  sceneparse predict runs/camvid photos 'more/*.png' --out out --flip",
        _predict_arguments,
        _predict,
    ),
    Verb(
        "report",
        "write a run's report.html again",
        "Rewrites RUN/report.html and RUN/curves.png from what is in the run folder. The\n"
        "worst images, scores at boundaries and calibration (RUN/reading.json) are made\n"
        "first where they are missing or of earlier weights, if the data is still there;\n"
        "Ctrl-C leaves them out.",
        "example:\n  sceneparse report runs/camvid",
        _report_arguments,
        _report,
    ),
    MODELS_VERB,
    Verb(
        "env",
        "versions and hardware, to paste into a report",
        "Prints versions, hardware and the state of the source.",
        "example:\n  sceneparse env",
        lambda parser: None,
        _env,
    ),
)
