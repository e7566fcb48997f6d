"""The training loop: when a step is taken, evaluated and saved. What a step does is the learner's.

Every random number is a function of the seed and the step, so a run that is killed and resumed takes the very
steps of one that was not. This is why the loop is spelled out here and not left to a trainer: what is saved
when, and what a run goes on from, are one page.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.tensorboard.writer import SummaryWriter

from sceneparse.data.augment import Augmentation
from sceneparse.data.loader import (
    Batch,
    EvalDataset,
    StepSampler,
    TrainDataset,
    eval_batches,
    make_loader,
)
from sceneparse.deploy.bundle import Bundle
from sceneparse.errors import InputError
from sceneparse.memory import full_memory_named
from sceneparse.models import Network
from sceneparse.normalization import Normalization
from sceneparse.training import outputs
from sceneparse.training.checkpoint import Checkpoint, Progress, save_checkpoint
from sceneparse.training.full_memory import full_in_evaluation, full_in_training
from sceneparse.training.learner import Learner
from sceneparse.training.loss import class_weights
from sceneparse.training.optim import learning_rate
from sceneparse.training.prepared import Prepared, RunResult
from sceneparse.training.progress import ProgressLine, duration, say
from sceneparse.training.resume import require_length
from sceneparse.training.signals import StopRequest
from sceneparse.training.validation import Validation, collapse_warning, validate

LOSS_ROWS = 2000


class _Pending(NamedTuple):
    """A step whose loss nobody has looked at yet."""

    step: int
    loss: Tensor
    rate: float
    indices: list[Tensor]


class Loop:
    """One run: made from what was prepared, ended by :meth:`run`.

    Args:
        prepared: data, settings and folder.
        network: with the weights it starts from, in no particular memory format.
        normalization: what these weights expect.
        checkpoint: where to go on; None starts at step 0.
    """

    def __init__(
        self,
        prepared: Prepared,
        network: Network,
        normalization: Normalization,
        checkpoint: Checkpoint | None,
    ) -> None:
        self.prepared = prepared
        self.run_folder = prepared.run
        self.config = config = prepared.config
        self.labels = prepared.dataset.labels
        self.console = prepared.console
        self.group = prepared.group
        self.progress = Progress()
        self.loss_rows: list[outputs.LossRow] = []
        self.pending: _Pending | None = None
        self.last_loss = math.nan
        self.board: SummaryWriter | None = None

        self.learner = Learner(
            config,
            network,
            normalization,
            ignore_index=self.labels.ignore_index,
            class_weights=class_weights(
                config.loss.class_weights,
                torch.from_numpy(prepared.train.tally.pixels[:-1]),
                torch.tensor(prepared.dataset.class_weights),
            ),
            group=self.group,
        )
        self.device = self.learner.device
        if checkpoint is not None:
            self.learner.restore(checkpoint, prepared.run)
            self.progress = checkpoint.progress
            self.loss_rows = outputs.read_losses(prepared.run, self.progress.step)
            path = self.checkpoints / "last.ckpt"
            say(self.console, f"resuming at step {self.progress.step} of {config.steps} from {path}")
        self.val_loader = self._validation_loader()
        self.shown = outputs.evenly_spaced(len(prepared.val), config.samples)

    def run(self) -> RunResult:
        """Train to the last step, or until a signal asks to stop."""
        config, progress = self.config, self.progress
        require_length(progress.step, config.steps, self.run_folder)
        batches = self._training_batches()
        line = ProgressLine(
            self.console,
            steps=config.steps,
            images_per_step=config.images_per_step,
            device=self.device,
        )
        with StopRequest() as stop, line, self._tensorboard() as self.board:
            self._train(batches, line, stop)
        return RunResult(
            run=self.run_folder,
            step=progress.step,
            steps=config.steps,
            mean_iou=progress.best_iou if progress.best_step else math.nan,
            best_step=progress.best_step,
            stopped_by=None if self._is_finished() else self.group.highest(stop.signal or 0) or None,
        )

    def _train(self, batches: Iterator[Batch], line: ProgressLine, stop: StopRequest) -> None:
        between = self.config.checkpoint_minutes * 60
        saved = time.monotonic()
        if self._evaluation_is_due():  # a run that was stopped or killed in an evaluation
            self._evaluate(line, stop)
        # Asked after every step: processes that wait for each other end at the same one.
        while self.progress.step < self.config.steps and not self.group.highest(bool(stop)):
            self._step(batches, line)
            if self._evaluation_is_due():
                self._evaluate(line, stop)
                saved = time.monotonic()
            elif self.group.highest(time.monotonic() - saved > between):
                self._save()
                saved = time.monotonic()
        if self.group.highest(bool(stop)):
            self._save()

    # ------------------------------------------------------------------ a step

    def _step(self, batches: Iterator[Batch], line: ProgressLine) -> None:
        config, progress = self.config, self.progress
        began = time.perf_counter()
        with full_memory_named(lambda: full_in_training(config, self.run_folder, progress.step + 1)):
            loss, indices, waited = self._learn(batches)
        self._check_pending()
        self.pending = _Pending(progress.step + 1, loss, self.learner.rate, indices)
        progress.step += 1
        if self.device.type == "cpu":
            self._check_pending()
        seconds = time.perf_counter() - began
        progress.seconds += seconds
        line.update(progress.step, self.last_loss, seconds, waited)

    def _learn(self, batches: Iterator[Batch]) -> tuple[Tensor, list[Tensor], float]:
        """Take a step: its loss, the indices of its samples, and the seconds it waited for them."""
        progress = self.progress
        began = time.perf_counter()
        parts = [next(batches) for _ in range(self.config.accumulate)]
        waited = time.perf_counter() - began
        if progress.step == 0 and self.group.is_first:
            pairs = [self.prepared.train.pair(i) for i in parts[0]["index"].tolist()]
            outputs.write_batch(self.run_folder, parts[0], pairs, self.labels)
        loss = self.learner.step(parts, progress.step)
        return loss, [batch["index"] for batch in parts], waited

    def _check_pending(self) -> None:
        """Look at the loss of the step before: on a GPU it is ready by then, so nobody waits for it.

        Raises:
            InputError: it is not finite.
        """
        if self.pending is None:
            return
        step, loss, rate, indices = self.pending
        self.pending = None
        self.last_loss = value = loss.item()
        if not math.isfinite(value):
            everywhere = self.group.gathered(torch.cat(indices).tolist())
            pairs = [self.prepared.train.pair(i) for numbers in everywhere for i in numbers]
            names = ", ".join(str(pair.image) for pair in pairs[:8])
            names += f" and {len(pairs) - 8} more" if len(pairs) > 8 else ""
            raise self._diverged(
                f"the loss of step {step} is {value} at learning rate {rate:g}; its files: {names}"
            )
        self.progress.loss_sum += value
        self.progress.loss_count += 1
        if step % max(1, self.config.steps // LOSS_ROWS) == 0:
            self.loss_rows.append((step, value, rate))
            self._log(step, {"train/loss": value, "train/lr": rate})

    def _check_weights(self) -> None:
        """A finite loss may have had a gradient that was not: such weights must not replace good ones.

        Raises:
            InputError: a weight is not finite.
        """
        self._check_pending()
        if not self.learner.is_finite():
            raise self._diverged(
                f"the weights after step {self.progress.step} are not finite, "
                f"at learning rate {self.learner.rate:g}"
            )

    def _diverged(self, what: str) -> InputError:
        if not self.group.is_first:
            raise SystemExit(2)  # process 0 finds the same and says it
        kept = self.checkpoints / "last.ckpt"
        if kept.is_file():
            said = f"{kept} is the last good checkpoint: go on from there with --resume and one of these"
        else:
            said = "nothing was saved before it: start again with one of these"
        return InputError(
            what,
            where=self.run_folder,
            fix=f"{said}: a lower --lr, --set optimizer.clip_norm=1, --precision 32",
        )

    # ------------------------------------------------------------------ evaluation

    def _is_finished(self) -> bool:
        return self.progress.step == self.config.steps and not self._evaluation_is_due()

    def _evaluation_is_due(self) -> bool:
        step, history = self.progress.step, self.progress.history
        if step == 0 or (history and history[-1]["step"] == step):
            return False
        return step % self.config.eval_every == 0 or step == self.config.steps

    def _evaluate(self, line: ProgressLine, stop: StopRequest) -> None:
        """Evaluate, write everything that shows it, then save: a kill in between repeats it on resume."""
        self._check_weights()
        progress = self.progress
        with full_memory_named(self._full_in_evaluation):
            result = validate(
                self.learner.evaluated,
                self.val_loader,
                normalization=self.learner.normalization,
                device=self.device,
                num_classes=self.labels.num_classes,
                ignore_index=self.labels.ignore_index,
                keep=self.shown,
                stop=lambda: bool(stop),
                group=self.group,
            )
        if result is None:
            return
        row = self._metrics_row(result, line)
        progress.history.append(row)
        progress.loss_sum, progress.loss_count = 0.0, 0
        say(
            self.console,
            f"step {progress.step}  train loss {row['train_loss']:.4f}  val loss {result.loss:.4f}  "
            f"mean IoU {row['mean_iou']:.4f}  pixel accuracy {row['pixel_accuracy']:.4f}  "
            f"({duration(progress.seconds)})",
        )
        warning = collapse_warning(result.scores, self.labels.names)
        if warning:
            say(self.console, f"warning: {warning}", style="yellow")
        better = progress.best_step == 0 or row["mean_iou"] > progress.best_iou
        if better:
            progress.best_iou = row["mean_iou"] if math.isfinite(row["mean_iou"]) else -1.0
            progress.best_step = progress.step
        if self.group.is_first:
            self._write(result, warning, better=better)

    def _write(self, result: Validation, warning: str | None, *, better: bool) -> None:
        """Everything that shows an evaluation, then the checkpoint."""
        progress, row = self.progress, self.progress.history[-1]
        if better:
            self._write_best(result)
        outputs.write_tables(self.run_folder, progress, self.loss_rows, warning)
        outputs.write_pictures(
            self.run_folder, self.prepared.val, self.labels, result, progress.step, self.shown
        )
        names = ("val_loss", "mean_iou", "pixel_accuracy")
        self._log(progress.step, {f"val/{name.removeprefix('val_')}": row[name] for name in names})
        self._save(best=better)

    def _full_in_evaluation(self) -> InputError:
        """The weights are good: what was learned is saved, and resuming begins with the evaluation."""
        self._save()
        return full_in_evaluation(self.config, self.run_folder, self.progress.step)

    def _tensorboard(self) -> AbstractContextManager[SummaryWriter | None]:
        if not self.group.is_first:
            return nullcontext()
        # What a killed process logged after its last checkpoint is logged again: TensorBoard drops the first.
        writer: AbstractContextManager[SummaryWriter] = SummaryWriter(
            str(self.run_folder / "tensorboard"), purge_step=self.progress.step + 1
        )
        return writer

    def _log(self, step: int, values: dict[str, float]) -> None:
        if self.board is not None:
            for name, value in values.items():
                self.board.add_scalar(name, value, step)

    def _metrics_row(self, result: Validation, line: ProgressLine) -> dict[str, float]:
        progress, config, scores = self.progress, self.config, result.scores
        images = progress.step * config.images_per_step
        return {
            "step": progress.step,
            "epoch": images / len(self.prepared.train),
            "images": images,
            "train_loss": progress.loss_sum / progress.loss_count if progress.loss_count else math.nan,
            "val_loss": result.loss,
            "mean_iou": float(scores.mean_iou),
            "pixel_accuracy": float(scores.pixel_accuracy),
            "mean_accuracy": float(scores.mean_accuracy),
            "frequency_weighted_iou": float(scores.frequency_weighted_iou),
            "lr": learning_rate(config.optimizer, progress.step - 1, config.steps),
            "images_per_second": line.images_per_second,
            "data_wait": line.data_wait,
            "seconds": progress.seconds,
        }

    def _write_best(self, result: Validation) -> None:
        bundle = Bundle(
            architecture=self.learner.network.architecture,
            labels=self.labels,
            resize=self.config.data.policy,
            normalization=self.learner.normalization,
            scores={"step": self.progress.step},
        )
        state = self.learner.evaluated.state_dict()
        outputs.write_best(self.run_folder, bundle, state, result, len(self.prepared.val))

    # ------------------------------------------------------------------ data, saving, resuming

    def _training_batches(self) -> Iterator[Batch]:
        """Batches from where the run stands: first those of small views, then those of whole ones."""
        config = self.config
        early = round(config.augmentation.early * config.steps)
        if self.progress.step < early:
            yield from self._batches_until(early, config.augmentation.small())
        yield from self._batches_until(config.steps, config.augmentation)

    def _batches_until(self, step: int, augmentation: Augmentation) -> Iterator[Batch]:
        config = self.config
        sampler = StepSampler(
            num_samples=len(self.prepared.train),
            batch_size=config.batch_size,
            seed=config.seed,
            steps=step * config.accumulate,
            start_step=self.progress.step * config.accumulate,
            rank=self.group.rank,
            world_size=self.group.size,
        )
        dataset = TrainDataset(
            self.prepared.train, augmentation, seed=config.seed, ignore_index=self.labels.ignore_index
        )
        on_gpu = self.device.type == "cuda"
        return iter(make_loader(dataset, sampler, workers=config.workers, pin_memory=on_gpu))

    def _validation_loader(self) -> DataLoader:
        shard = (self.group.rank, self.group.size)
        batches = eval_batches(self.prepared.val, self.config.eval_batch_size, shard)
        return make_loader(
            EvalDataset(self.prepared.val),
            batches,
            workers=min(2, self.config.workers),
            pin_memory=self.device.type == "cuda",
        )

    @property
    def checkpoints(self) -> Path:
        """Folder of last.ckpt and best.ckpt."""
        return self.run_folder / "checkpoints"

    def _save(self, *, best: bool = False) -> None:
        """What the checkpoint stands for is written before it, best before last: after a kill at any point
        the last checkpoint leads to all the rest.
        """
        self._check_weights()
        if not self.group.is_first:
            return
        outputs.write_losses(self.run_folder, self.loss_rows)
        if self.board is not None:
            self.board.flush()
        checkpoint = Checkpoint(config=self.config.to_dict(), progress=self.progress, **self.learner.state())
        last = self.checkpoints / "last.ckpt"
        if best:
            save_checkpoint(self.checkpoints / "best.ckpt", checkpoint, also=last)
        else:
            save_checkpoint(last, checkpoint)
