"""The engine: K slots over one frozen base.

Each `step` is one optimizer step of every slot that has something left to do. The slots' batches are cut into
micro-batches, and the `Packer` says which of them share a pass; there the base runs once over all rows, and one
backward pass of the sum of the slots' losses fills each slot's gradients. Gradients cannot mix, since no parameter
belongs to two slots and no operation crosses rows.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from autoglm_nb.errors import TrialError, UsageError
from autoglm_nb.training import checkpoint as checkpoints
from autoglm_nb.training.build import PACKED_METHODS, PackedModel, has_dropout, make_packed_slot, make_solo_slot
from autoglm_nb.training.evaluate import evaluate_slot, measure_latency
from autoglm_nb.training.heads import seeded_generator, total_parameters
from autoglm_nb.training.loss import pass_logits, segment_losses
from autoglm_nb.training.memory import PassMemory, PeakMemory, release_memory, reraise
from autoglm_nb.training.packed import RowMap, check_kernels
from autoglm_nb.training.packing import Packer, measured_overhead
from autoglm_nb.training.plan import RunPlan
from autoglm_nb.training.precision import base_dtype, explain_precision, resolve_device, resolve_precision
from autoglm_nb.training.prefix import prefix_for
from autoglm_nb.training.rounds import Epochs, Round, Rounds, make_rounds
from autoglm_nb.training.slots import Slot, update_together
from autoglm_nb.training.steps import StepResult

if TYPE_CHECKING:
    from autoglm_nb.data import EncodedData
    from autoglm_nb.models import LoadedBase

__all__ = ["Engine", "StepResult"]

STATES = 4
"""Copies of a slot's parameters that training keeps: weight, gradient and Adam's two moments."""


class Engine:
    """Trains up to `capacity` runs at once. Used by one thread at a time.

    Args:
        base: the loaded base; never changed. The engine owns its device placement.
        data: encoded splits; every slot reads the same.
        capacity: how many slots. Only LoRA and DoRA share a pass; other methods in a
            slot run beside the pack, one after another.
        device: "auto", "cpu", "cuda" or "cuda:N".
        precision: "auto", "fp32", "bf16", "fp16" (GPU only, with loss scaling) or "nf4" (GPU only, a base in 4 bits).
        gradient_checkpointing: recompute activations in the backward pass.

    Raises:
        UsageError: an unknown device or precision, or one this machine lacks; the same of `AUTOGLM_KERNELS`.
    """

    def __init__(
        self,
        base: LoadedBase,
        data: EncodedData,
        *,
        capacity: int = 1,
        device: str | torch.device = "auto",
        precision: str = "auto",
        gradient_checkpointing: bool = False,
    ) -> None:
        self.base, self.data, self.capacity = base, data, max(1, capacity)
        self.device = resolve_device(device)
        self.precision = resolve_precision(precision, self.device)
        check_kernels(self.device)
        self._why_precision = explain_precision(precision, self.device)
        self.gradient_checkpointing = gradient_checkpointing
        self.base.model.to(self.device)
        self._packed: PackedModel | None = None
        self._solo_map = RowMap()
        self._slots: dict[int, Slot] = {}
        self._orders: dict[tuple[int, int], Epochs] = {}
        self._base_dropout = has_dropout(base.model)
        self.prefix = prefix_for(base, data, self.device, self.precision, whole=self._base_dropout)
        self._peak = PeakMemory(self.device)
        self._pass_memory = PassMemory(self.device, self.memory_gb)
        self._peak_gb = 0.0
        self.why_alone = "One trial at a time was asked for."
        self.packer = Packer(base.model, self.device, self._measured_overhead)
        if self._base_dropout and self.capacity > 1:
            raise UsageError(
                f"The base's own dropout is drawn for a pass as a whole, so trials cannot share one, but "
                f"capacity={capacity}. Use capacity=1 or turn base dropout off."
            )

    # -- slots ---------------------------------------------------------------

    def admit(self, plan: RunPlan, checkpoint: Path | None = None, *, losses: Path | None = None) -> int:
        """Give a run a slot, resuming from the newest whole checkpoint if there is one.

        Args:
            plan: from `plan_run`.
            checkpoint: the run's folder of checkpoints, or one checkpoint.
            losses: where each step's loss is appended; cut back to the checkpoint on resume.

        Returns:
            The slot's number.

        Raises:
            ModelError: the method does not fit the model.
            OutOfMemoryError: no room for the run's parameters.
            TrialError: all slots are taken.
        """
        from autoglm_nb.models import method_config

        free = [n for n in range(self.capacity) if n not in self._slots]
        if not free:
            raise TrialError(
                f"An engine trains at most {self.capacity} runs at once, and all slots are taken. Evict one first."
            )
        method = method_config(plan.config, self.base)
        scaled = self.precision == "fp16"
        if not self._slots:
            self._peak.reset()
            self._peak_gb = 0.0
        try:
            if method.method in PACKED_METHODS:
                packed = self._packed_model()
                slot = make_packed_slot(free[0], plan, self.base, packed, method, scaled)
                packed.attach(slot)
                slot.micro_batch = min(slot.micro_batch, self.packer.rows_that_fit(int(max(self.data.train.lengths))))
            else:
                slot = make_solo_slot(
                    free[0], plan, self.base, self.data, self._solo_map, method, self.gradient_checkpointing, scaled
                )
        except Exception as error:  # noqa: BLE001 - raised again as one of ours
            if self._packed is not None:
                self._packed.detach(free[0])
            reraise(error, self.device)
        self._slots[slot.number] = slot
        try:
            if checkpoint is not None:
                checkpoints.resume(slot, Path(checkpoint))
            if losses is not None:
                slot.losses = checkpoints.LossLog(Path(losses))
                slot.losses.truncate(slot.step)
        except BaseException:
            self.evict(slot.number)
            raise
        return slot.number

    def evict(self, slot: int) -> None:
        """Free a slot; the base is as it was. Unknown numbers are ignored."""
        gone = self._slots.pop(slot, None)
        if gone is None:
            return
        if self._packed is not None:
            self._packed.detach(slot)
        gone.model = None
        if self.device.type == "cuda":
            release_memory(self.device)

    def finished(self, slot: int) -> bool:
        """Whether the run has made all its steps, or failed."""
        return self._slots[slot].done

    def due(self, slot: int) -> int | None:
        """The rung (1 to `plan.rungs`) to evaluate now; `evaluate` on any split answers it."""
        return self._slots[slot].due()

    def step_of(self, slot: int) -> int:
        return self._slots[slot].step

    def shares(self, config: Mapping[str, Any]) -> bool:
        """Whether a run of this configuration shares its passes with others."""
        return str(config.get("method", "lora")) in PACKED_METHODS

    def micro_batch_of(self, slot: int) -> int:
        return self._slots[slot].micro_batch

    def set_micro_batch(self, slot: int, micro_batch: int) -> None:
        """Change how a slot's batch is split; gradients and dropout masks stay the same."""
        self._slots[slot].micro_batch = max(1, micro_batch)

    # -- training ------------------------------------------------------------

    def groups(self) -> list[list[int]]:
        """The unfinished slots, those that share passes together and every other one by itself."""
        active = [slot for slot in self._slots.values() if not slot.done]
        packed = [slot.number for slot in active if slot.packed]
        return ([packed] if packed else []) + [[slot.number] for slot in active if not slot.packed]

    def step(self, only: Collection[int] | None = None) -> dict[int, StepResult]:
        """One optimizer step of every slot that is not finished.

        Args:
            only: of these slots alone.

        Raises:
            OutOfMemoryError: no parameter was updated and no gradient is left; the step may be
                repeated after `set_micro_batch`, or the slot evicted.
            UnexpectedError: the same, for an error that nobody foresaw.
            DiskFullError: the losses file cannot be written.
        """
        results: dict[int, StepResult] = {}
        for group in self.groups():
            chosen = [self._slots[n] for n in group if only is None or n in only]
            if chosen:
                results.update(self._step_group(chosen))
        for number, result in results.items():
            log = self._slots[number].losses
            if log is not None and result.updated:
                log.append(result.step, result.loss, result.learning_rate)
        return results

    def _step_group(self, slots: list[Slot]) -> dict[int, StepResult]:
        """One optimizer step of slots that share their passes."""
        started = time.perf_counter()
        try:
            rounds = make_rounds(slots, self.data, self._order, self.device, self.packer.groups)
            passes = [one.shape for one in rounds.rounds]
            self.packer.planned([(one.shape, len(one.segments)) for one in rounds.rounds])
            prepared = time.perf_counter()
            losses = self._backward(slots, rounds)
            norms = [slot.norms(losses[slot.number]) for slot in slots]
            # One wait for the device per step, however many slots.
            numbers = torch.stack([x for n in norms for x in (n.loss.float(), n.grad_norm.float())]).tolist()
            rates = [slot.learning_rate for slot in slots]
            updated = update_together(slots, numbers[::2], numbers[1::2])
        except Exception as error:  # noqa: BLE001 - raised again as one of ours
            for slot in slots:
                slot.clear()
            reraise(error, self.device)
        model_seconds, seconds = time.perf_counter() - prepared, time.perf_counter() - started
        all_tokens = max(1, sum(rounds.tokens.values()))
        if slots[0].packed:
            self.packer.observe(passes, len(slots), all_tokens, model_seconds)
        results = {}
        for i, slot in enumerate(slots):
            share = rounds.tokens[slot.number] / all_tokens
            results[slot.number] = StepResult(
                step=slot.step if updated[i] else slot.step + 1,
                loss=numbers[2 * i],
                learning_rate=rates[i],
                grad_norm=numbers[2 * i + 1],
                tokens=rounds.tokens[slot.number],
                seconds=seconds * share,
                model_seconds=model_seconds * share,
                updated=updated[i],
                failure=slot.failure,
                neighbours=rounds.neighbours(slot.number),
            )
        return results

    def _backward(self, slots: list[Slot], rounds: Rounds) -> dict[int, torch.Tensor]:
        """Fill the gradients of all slots; returns each slot's loss."""
        by_number = {slot.number: slot for slot in slots}
        losses = {slot.number: torch.zeros((), device=self.device) for slot in slots}
        model, row_map = self.model_of(slots[0])
        if not model.training:
            model.train()
        held = float(sum(self.adapter_bytes(n) for n in self._slots)) * STATES
        for index, one in enumerate(rounds.rounds):
            watched = slots[0].packed and self._pass_memory.begin(one.shape.tokens, held)
            with self.passing(slots[0], row_map, one, index):
                logits, targets = pass_logits(model, one.batch, self.base.task, row_map)
                smoothing = [by_number[s.slot].smoothing for s in one.segments]
                summed = segment_losses(logits, targets, one.terms, smoothing)
                total = torch.zeros((), device=self.device)
                for segment, part in zip(one.segments, summed, strict=True):
                    loss = part / max(1, rounds.terms[segment.slot])
                    losses[segment.slot] = losses[segment.slot] + loss.detach()
                    scale = by_number[segment.slot].scale
                    total = total + (loss if scale is None else loss * scale.scale)
                del logits, summed
                total.backward()
            if watched:
                self.memory_gb()
                self.packer.observe_memory(one.shape, self._pass_memory.end())
        return losses

    @contextmanager
    def passing(self, slot: Slot, row_map: RowMap, one: Round, index: int | None = None) -> Iterator[None]:
        """The surroundings of one forward (and backward) pass; `index` is None in evaluation."""
        methods = [self._slots[s.slot].method for s in one.segments if s.slot in self._slots]
        with ExitStack() as stack:
            stack.enter_context(self.prefix.passing(self.model_of(slot)[0], row_map, methods, one))
            stack.enter_context(row_map.over(one.segments, one.labelled, one.shape.positions))
            if slot.model is not None and self.precision != "fp32":
                stack.enter_context(torch.autocast(self.device.type, dtype=base_dtype(self.precision)))
            if index is not None and (slot.model is not None or self._base_dropout):
                # Dropout inside such a model draws from the global generator: a fresh one for each pass.
                stack.enter_context(torch.random.fork_rng([self.device] if self.device.type == "cuda" else []))
                key = seeded_generator(slot.plan.seed, "pass", str(slot.step), str(index))
                torch.manual_seed(key.initial_seed())
            yield

    # -- what a run is worth -------------------------------------------------

    def evaluate(self, slot: int, split: str = "validation", limit_rows: int | None = None) -> dict[str, Any]:
        """Score a slot on a split; see `evaluate.evaluate_slot`. Marks the due rung as done."""
        run = self._slots[slot]
        try:
            metrics = evaluate_slot(self, run, split, limit_rows)
        except Exception as error:  # noqa: BLE001 - raised again as one of ours
            reraise(error, self.device)
        run.rung_done = run.due() or run.rung_done
        return {**metrics, "memory_gb": round(self.memory_gb(), 3), "trainable_share": self.trainable_share(slot)}

    def latency(self, slot: int, split: str = "validation", batch_size: int = 1, batches: int = 50) -> dict[str, float]:
        """Milliseconds per sample (p50, p95) at a batch size."""
        return measure_latency(self, self._slots[slot], split=split, batch_size=batch_size, batches=batches)

    def trainable_share(self, slot: int) -> float:
        """Trainable parameters over all parameters of the tuned model."""
        run = self._slots[slot]
        trained = total_parameters(run.parameters.values())
        if run.model is not None:
            return trained / max(1, total_parameters(run.model.parameters()))
        heads = sum(total_parameters(self.base.model.get_submodule(n).parameters()) for n in run.heads)
        return trained / max(1, total_parameters(self.base.model.parameters()) - heads + trained)

    def adapter_bytes(self, slot: int) -> int:
        """Bytes of what the slot trains, as saved."""
        return sum(p.numel() * p.element_size() for p in self._slots[slot].parameters.values())

    def memory_gb(self) -> float:
        """Peak memory since the first of the present slots was admitted, in GiB."""
        self._peak_gb = max(self._peak_gb, self._peak.read_gb())
        return self._peak_gb

    def packing(self) -> dict[str, Any]:
        """How passes are shared, predicted beside measured; see `Packer.report`."""
        return {**self.packer.report(), "memory_gb": round(self.memory_gb(), 3), "capacity": self.capacity}

    def describe(self) -> dict[str, Any]:
        """How it computes and why, as plain JSON."""
        told = {"precision": self._why_precision, "side_by_side": self.capacity, "prefix": self.prefix.describe()}
        return told if self._packed is None else {**told, **self._packed.describe()}

    # -- files ---------------------------------------------------------------

    def save_checkpoint(self, slot: int, folder: Path) -> Path:
        """Write `folder/step-000123`, atomically; the last two are kept.

        Raises:
            DiskFullError: no room; older checkpoints are untouched.
        """
        return checkpoints.save(self._slots[slot], Path(folder))

    def save_adapter(self, slot: int, folder: Path, extra: Mapping[str, Any] | None = None) -> Path:
        """Write the trained parameters in the format of the models room."""
        from autoglm_nb.models import save_adapter
        from autoglm_nb.models.apply import adapter_state

        run = self._slots[slot]
        state = dict(run.parameters) if run.model is None else adapter_state(run.model, run.method)
        save_adapter(
            Path(folder),
            method=run.method,
            state={name: t.detach().cpu().contiguous() for name, t in state.items()},
            loaded=self.base,
            label_names=self.data.label_names,
            max_length=self.data.max_length,
            extra=dict(extra or {}),
        )
        return Path(folder)

    # -- private -------------------------------------------------------------

    def model_of(self, slot: Slot) -> tuple[nn.Module, RowMap]:
        """The model a slot's rows go through, and its row map."""
        if slot.model is not None:
            return slot.model, self._solo_map
        if self._packed is None:
            raise TrialError("A packed slot needs the packed model, but there is none. Admit the run again.")
        return self._packed.model, self._packed.row_map

    def _packed_model(self) -> PackedModel:
        if self._packed is None:
            self._packed = PackedModel(self.base, base_dtype(self.precision), self.gradient_checkpointing)
        return self._packed

    def _measured_overhead(self) -> float:
        key = [getattr(getattr(self.base, "resolved", None), "checksum", ""), self.base.task, self.precision]
        packed = self._packed_model()
        with packed.row_map.over(()):
            return measured_overhead(packed.model, self.device, key)

    def _order(self, slot: Slot) -> Epochs:
        from autoglm_nb.data import BatchOrder

        key = (slot.plan.batch_size, slot.plan.seed)
        if key not in self._orders:
            if len(self._orders) > 2 * self.capacity:
                self._orders.clear()
            self._orders[key] = Epochs(BatchOrder(self.data.train.lengths, *key))
        return self._orders[key]
