"""The training loop, on Lightning Fabric (devices and precision).

Every random number is a function of the seed and the step, so a run that is killed and resumed takes the very
steps of one that was not. This is why the loop is spelled out here and not left to a trainer: what a step is,
when it is saved and what it starts from are one page.
"""

from __future__ import annotations

import copy
import csv
import io
import json
import math
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.fabric import Fabric
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torch.utils.tensorboard.writer import SummaryWriter

from sceneparse.data.loader import (
    Batch,
    EvalDataset,
    StepSampler,
    TrainDataset,
    eval_batches,
    make_loader,
)
from sceneparse.deploy.bundle import Bundle, write_bundle
from sceneparse.errors import InputError
from sceneparse.evaluation.confusion import Scores, numbers_json
from sceneparse.files import write_text
from sceneparse.models import FCN
from sceneparse.normalization import Normalization
from sceneparse.prediction.inference import normalized
from sceneparse.prediction.render import Triple, sheet
from sceneparse.report import write_curves
from sceneparse.training.checkpoint import Checkpoint, Progress, load_checkpoint, save_checkpoint
from sceneparse.training.loss import class_weights, upsampled_cross_entropy
from sceneparse.training.optim import learning_rate, make_optimizer, set_learning_rate, update_average
from sceneparse.training.progress import ProgressLine, duration
from sceneparse.training.run import Prepared, RunResult
from sceneparse.training.signals import StopRequest
from sceneparse.training.validation import Validation, collapse_warning, validate

FABRIC_PRECISION = {"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}
LOSS_ROWS = 2000


class Loop:
    """One run: made from what was prepared, ended by :meth:`run`.

    Args:
        prepared: data, settings and folder.
        network: with the weights it starts from, in no particular memory format.
        normalization: what these weights expect; on resume the checkpoint's goes before it.
    """

    def __init__(self, prepared: Prepared, network: FCN, normalization: Normalization) -> None:
        self.prepared = prepared
        self.run_folder = prepared.run
        self.config = config = prepared.config
        self.labels = prepared.dataset.labels
        self.console = prepared.console
        self.normalization = normalization
        self.progress = Progress()
        self.loss_rows: list[tuple[int, float, float]] = []
        self.pending: tuple[int, Tensor, list[Tensor]] | None = None
        self.last_loss = math.nan

        self.fabric = _make_fabric(config.device, config.precision)
        self.device = self.fabric.device
        if config.deterministic:
            torch.use_deterministic_algorithms(True)
        weights = class_weights(config.loss.class_weights, _class_pixels(prepared))
        self.class_weights = None if weights is None else weights.to(self.device)
        optimizer = make_optimizer(network, config.optimizer)
        network.to(memory_format=torch.channels_last)
        self.average: nn.Module | None = None
        if config.optimizer.ema:
            self.average = copy.deepcopy(network).to(self.device).eval().requires_grad_(False)
        self.network = network
        self.model, self.optimizer = self.fabric.setup(network, optimizer)
        self._resume()
        self.val_loader = self._validation_loader()
        self.shown = _evenly_spaced(len(prepared.val), config.samples)

    @property
    def checkpoints(self) -> Path:
        """Folder of last.ckpt and best.ckpt."""
        return self.run_folder / "checkpoints"

    def run(self) -> RunResult:
        """Train to the last step, or until a signal asks to stop."""
        config, progress = self.config, self.progress
        batches = self._training_batches()
        line = ProgressLine(
            self.console,
            steps=config.steps,
            images_per_step=config.batch_size * config.accumulate,
            device=self.device,
        )
        saved = time.monotonic()
        with StopRequest() as stop, line, SummaryWriter(str(self.run_folder / "tensorboard")) as board:
            if self._evaluation_is_due():
                self._evaluate(line, stop, board)
            while progress.step < config.steps and not stop:
                self._step(batches, line, board)
                due = self._evaluation_is_due()
                if due:
                    self._evaluate(line, stop, board)
                elif time.monotonic() - saved > config.checkpoint_minutes * 60:
                    self._save()
                if due or time.monotonic() - saved > config.checkpoint_minutes * 60:
                    saved = time.monotonic()
            if stop:
                self._save()
        return RunResult(
            run=self.run_folder,
            step=progress.step,
            steps=config.steps,
            mean_iou=progress.best_iou if progress.best_step else math.nan,
            best_step=progress.best_step,
            stopped_by=stop.signal,
        )

    # ------------------------------------------------------------------ a step

    def _step(self, batches: Iterator[Batch], line: ProgressLine, board: SummaryWriter) -> None:
        config, progress = self.config, self.progress
        began, waited = time.perf_counter(), 0.0
        rate = learning_rate(config.optimizer, progress.step, config.steps)
        set_learning_rate(self.optimizer, rate)
        loss_sum: Tensor | None = None
        indices = []
        for part in range(config.accumulate):
            asked = time.perf_counter()
            batch = next(batches)
            waited += time.perf_counter() - asked
            indices.append(batch["index"])
            # Dropout: a function of seed and step, so that a resumed run draws what the unbroken one drew.
            torch.manual_seed(_stream(config.seed, progress.step, part))
            with self.fabric.no_backward_sync(self.model, enabled=part < config.accumulate - 1):
                loss = self._loss(batch) / config.accumulate
                self.fabric.backward(loss)
            loss_sum = loss.detach() if loss_sum is None else loss_sum + loss.detach()
        assert loss_sum is not None
        if config.optimizer.clip_norm:
            self.fabric.clip_gradients(
                self.model, self.optimizer, max_norm=config.optimizer.clip_norm, error_if_nonfinite=False
            )
        self._check_pending()
        self.pending = (progress.step + 1, loss_sum, indices)
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.average is not None:
            update_average(self.average, self.network, config.optimizer.ema, progress.step)
        progress.step += 1
        if self.device.type == "cpu" or progress.step == config.steps or self._evaluation_is_due():
            self._check_pending()
        seconds = time.perf_counter() - began
        progress.seconds += seconds
        line.update(progress.step, self.last_loss, seconds, waited)
        if progress.step % max(1, config.steps // LOSS_ROWS) == 0:
            self.loss_rows.append((progress.step, self.last_loss, rate))
            board.add_scalar("train/loss", self.last_loss, progress.step)
            board.add_scalar("train/lr", rate, progress.step)

    def _loss(self, batch: Batch) -> Tensor:
        images = normalized(batch["image"], self.normalization, self.device)
        return upsampled_cross_entropy(
            self.model(images),
            batch["mask"].to(self.device, non_blocking=True),
            self.labels.ignore_index,
            self.class_weights,
            self.config.loss.label_smoothing,
        )

    def _check_pending(self) -> None:
        """Look at the loss of the step before: on a GPU it is ready by then, so nobody waits for it.

        Raises:
            InputError: it is not finite.
        """
        if self.pending is None:
            return
        step, loss, indices = self.pending
        self.pending = None
        self.last_loss = value = loss.item()
        if math.isfinite(value):
            self.progress.loss_sum += value
            self.progress.loss_count += 1
            return
        pairs = [self.prepared.train.pair(i) for i in torch.cat(indices).tolist()]
        names = ", ".join(str(pair.image) for pair in pairs[:8])
        rate = self.optimizer.param_groups[0]["lr"]
        kept = self.checkpoints / "last.ckpt"
        raise InputError(
            f"the loss of step {step} is {value} at learning rate {rate:g}; its files: {names}",
            where=self.run_folder,
            fix="lower --lr, set optimizer.clip_norm=1 or optimizer.warmup=0.05, or use --precision 32; "
            + (f"{kept} is the last good checkpoint" if kept.is_file() else "nothing was saved before it"),
        )

    # ------------------------------------------------------------------ evaluation

    def _evaluation_is_due(self) -> bool:
        step, history = self.progress.step, self.progress.history
        if step == 0 or (history and history[-1]["step"] == step):
            return False
        return step % self.config.eval_every == 0 or step == self.config.steps

    def _evaluate(self, line: ProgressLine, stop: StopRequest, board: SummaryWriter) -> None:
        """Evaluate, and write everything that shows it; a kill in between repeats it on resume."""
        self._check_pending()
        progress = self.progress
        network = self.average if self.average is not None else self.network
        result = validate(
            network,
            self.val_loader,
            normalization=self.normalization,
            device=self.device,
            num_classes=self.labels.num_classes,
            ignore_index=self.labels.ignore_index,
            keep=self.shown,
            stop=lambda: bool(stop),
        )
        if result is None:
            return
        row = self._metrics_row(result, line)
        progress.history.append(row)
        progress.loss_sum, progress.loss_count = 0.0, 0
        scores = result.scores
        self.console.print(
            f"step {progress.step}  train loss {row['train_loss']:.4f}  val loss {result.loss:.4f}  "
            f"mean IoU {scores.mean_iou:.4f}  pixel accuracy {scores.pixel_accuracy:.4f}  "
            f"({duration(progress.seconds)})",
            highlight=False,
        )
        warning = collapse_warning(scores, self.labels.names)
        if warning:
            self.console.print(f"[yellow]warning:[/] {warning}", highlight=False)
        better = progress.best_step == 0 or scores.mean_iou > progress.best_iou
        if better:
            progress.best_iou = scores.mean_iou if math.isfinite(scores.mean_iou) else -1.0
            progress.best_step = progress.step
            self._write_bundle(network, result)
        self._save(best=better)
        self._write_tables(warning)
        self._write_samples(result)
        write_curves(self.run_folder)
        for name in ("val_loss", "mean_iou", "pixel_accuracy"):
            board.add_scalar(f"val/{name.removeprefix('val_')}", row[name], progress.step)

    def _metrics_row(self, result: Validation, line: ProgressLine) -> dict[str, float]:
        progress, config, scores = self.progress, self.config, result.scores
        images = progress.step * config.batch_size * config.accumulate
        return {
            "step": progress.step,
            "epoch": images / len(self.prepared.train),
            "images": images,
            "train_loss": progress.loss_sum / progress.loss_count if progress.loss_count else math.nan,
            "val_loss": result.loss,
            "mean_iou": scores.mean_iou,
            "pixel_accuracy": scores.pixel_accuracy,
            "mean_accuracy": scores.mean_accuracy,
            "frequency_weighted_iou": scores.frequency_weighted_iou,
            "lr": self.optimizer.param_groups[0]["lr"],
            "images_per_second": line.images_per_second,
            "data_wait": line.data_wait,
            "seconds": progress.seconds,
        }

    def _numbers(self, scores: Scores) -> dict[str, Any]:
        return numbers_json(scores.matrix, self.labels, images=len(self.prepared.val), split="val")

    def _write_bundle(self, network: nn.Module, result: Validation) -> None:
        numbers = self._numbers(result.scores)
        bundle = Bundle(
            architecture=self.network.architecture,
            labels=self.labels,
            resize=self.config.data.policy,
            normalization=self.normalization,
            scores={"step": self.progress.step, **{k: v for k, v in numbers.items() if k != "per_class"}},
        )
        write_bundle(self.run_folder / "model", bundle, network.state_dict())
        numbers |= {
            "step": self.progress.step,
            "val_loss": result.loss if math.isfinite(result.loss) else None,
            "confusion_matrix": result.scores.matrix.tolist(),
            "palette": [list(color) for color in self.labels.palette],
        }
        write_text(self.run_folder / "evaluation.json", json.dumps(numbers, ensure_ascii=False) + "\n")

    def _write_tables(self, warning: str | None) -> None:
        history = self.progress.history
        write_text(
            self.run_folder / "metrics.csv", _csv(list(history[0]), [list(r.values()) for r in history])
        )
        write_text(self.run_folder / "losses.csv", _csv(["step", "loss", "lr"], self.loss_rows))
        write_text(self.run_folder / "warnings.json", json.dumps({"warnings": [warning] if warning else []}))

    def _write_samples(self, result: Validation) -> None:
        rows = []
        for index in self.shown:
            image, label = self.prepared.val[index]
            prediction = result.predictions[index]
            if image.shape[:2] != prediction.shape:
                from sceneparse.data.preprocess import resize_image

                image = resize_image(np.asarray(image), (prediction.shape[0], prediction.shape[1]))
            rows.append(
                Triple(
                    image=image,
                    label=_file_numbers(label, self.labels),
                    prediction=self.labels.to_file(prediction),
                    name=self.prepared.val.pair(index).stem,
                )
            )
        if not rows:
            return
        title = f"step {self.progress.step}   mean IoU {result.scores.mean_iou:.3f}"
        buffer = io.BytesIO()
        sheet(rows, self.labels, title=title).save(buffer, "PNG")
        path = self.run_folder / "samples" / f"step_{self.progress.step:07d}.png"
        path.write_bytes(buffer.getvalue())

    # ------------------------------------------------------------------ data, saving, resuming

    def _training_batches(self) -> Iterator[Batch]:
        config = self.config
        done = self.progress.step * config.accumulate
        sampler = StepSampler(
            num_samples=len(self.prepared.train),
            batch_size=config.batch_size,
            seed=config.seed,
            steps=config.steps * config.accumulate,
            start_step=done,
        )
        dataset = TrainDataset(
            self.prepared.train,
            config.augmentation,
            seed=config.seed,
            ignore_index=self.labels.ignore_index,
        )
        on_gpu = self.device.type == "cuda"
        return iter(make_loader(dataset, sampler, workers=config.workers, pin_memory=on_gpu))

    def _validation_loader(self) -> DataLoader:
        batches = eval_batches(self.prepared.val, self.config.eval_batch_size)
        return make_loader(
            EvalDataset(self.prepared.val),
            batches,
            workers=min(2, self.config.workers),
            pin_memory=self.device.type == "cuda",
        )

    def _save(self, *, best: bool = False) -> None:
        self._check_pending()
        scaler = getattr(self.fabric.strategy.precision, "scaler", None)
        checkpoint = Checkpoint(
            progress=self.progress,
            model=self.network.state_dict(),
            average=None if self.average is None else self.average.state_dict(),
            optimizer=self.optimizer.state_dict(),
            scaler=scaler.state_dict() if scaler is not None else {},
            normalization=self.normalization.to_dict(),
        )
        save_checkpoint(
            self.checkpoints / "last.ckpt", checkpoint, also=self.checkpoints / "best.ckpt" if best else None
        )
        write_text(self.run_folder / "losses.csv", _csv(["step", "loss", "lr"], self.loss_rows))

    def _resume(self) -> None:
        path = self.checkpoints / "last.ckpt"
        if not path.is_file():
            return
        checkpoint = load_checkpoint(path)
        self.network.load_state_dict(checkpoint.model)
        if self.average is not None and checkpoint.average is not None:
            self.average.load_state_dict(checkpoint.average)
        self.optimizer.load_state_dict(checkpoint.optimizer)
        scaler = getattr(self.fabric.strategy.precision, "scaler", None)
        if scaler is not None and checkpoint.scaler:
            scaler.load_state_dict(checkpoint.scaler)
        self.normalization = Normalization.from_dict(checkpoint.normalization)
        self.progress = checkpoint.progress
        self.loss_rows = _read_losses(self.run_folder / "losses.csv", self.progress.step)
        self.console.print(
            f"resuming at step {self.progress.step} of {self.config.steps} from {path}", highlight=False
        )


def _make_fabric(device: str, precision: str) -> Fabric:
    accelerator, _, number = device.partition(":")
    with warnings.catch_warnings():
        # Fabric recommends wrapping things that this loop does itself.
        warnings.simplefilter("ignore")
        return Fabric(
            accelerator=accelerator,
            devices=[int(number)] if number else 1,
            precision=FABRIC_PRECISION[precision],  # type: ignore[arg-type]
        )


def _stream(seed: int, step: int, part: int) -> int:
    """A seed of 64 bits for one forward pass."""
    return int(
        np.random.SeedSequence(seed, spawn_key=(0x73746570, step, part)).generate_state(1, np.uint64)[0]
    )


def _class_pixels(prepared: Prepared) -> Tensor:
    """(K,) pixels of each class in the training split; zeros when no weights are asked for."""
    classes = prepared.dataset.labels.num_classes
    counts = np.zeros(max(classes, prepared.dataset.labels.ignore_index + 1), np.int64)
    if prepared.config.loss.class_weights != "none":
        for i in range(len(prepared.train)):
            counts += np.bincount(prepared.train[i][1].ravel(), minlength=len(counts))
    return torch.from_numpy(counts[:classes])


def _evenly_spaced(count: int, wanted: int) -> list[int]:
    return sorted({round(i) for i in np.linspace(0, count - 1, min(count, wanted))}) if wanted else []


def _file_numbers(index: np.ndarray, labels: Any) -> np.ndarray:
    """Training indices to file numbers for a picture; ignored pixels to a number that is no class."""
    known = index != labels.ignore_index
    out = labels.to_file(np.where(known, index, 0))
    if labels.ignored:
        out[~known] = labels.ignored[0]
    return out


def _csv(header: list[str], rows: list[Any]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    for row in rows:
        writer.writerow([f"{v:.6g}" if isinstance(v, float) else v for v in row])
    return buffer.getvalue()


def _read_losses(path: Path, step: int) -> list[tuple[int, float, float]]:
    """Rows up to ``step``: what a killed process did after its last checkpoint is done again."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        rows = [(int(r["step"]), float(r["loss"]), float(r["lr"])) for r in csv.DictReader(file)]
    return [row for row in rows if row[0] <= step]
