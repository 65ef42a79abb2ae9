"""Models and data, prepared once per worker and kept for all its runs.

`Workshop` resolves the base models a study may use, loads each at most once
(the two used last stay in memory), makes or re-reads the splits, and keeps the
tokenised data. What was resolved is pinned in the store: a study taken up
again refuses to go on with another model or other data than it began with.
"""

from __future__ import annotations

import platform
from collections import OrderedDict
from importlib import metadata
from typing import TYPE_CHECKING, Any

from autoglm_nb import settings
from autoglm_nb.errors import StudyMismatchError
from autoglm_nb.space import Space
from autoglm_nb.tuning import goal
from autoglm_nb.tuning.context import StudyContext

if TYPE_CHECKING:
    from autoglm_nb.data import Dataset
    from autoglm_nb.models import ResolvedModel
    from autoglm_nb.training import Engine

__all__ = ["Workshop"]

MODELS_IN_MEMORY = 2


class Workshop:
    """Everything a run is trained with. One per worker; not thread-safe.

    Raises (from the constructor):
        ModelError, DataError: what was asked for cannot be had; the sentence says why.
        StudyMismatchError: the pinned model or data changed under a stored study.
    """

    def __init__(self, context: StudyContext) -> None:
        from autoglm_nb import data, models

        spec = context.spec
        if spec.task is None:
            raise ValueError("a study's task is settled by session.plan before its worker starts")
        self._context = context
        self.task = spec.task
        folder = context.store.study_dir(spec.name)
        self.resolved: dict[str, ResolvedModel] = {
            name: models.resolve(name, trust_remote_code=spec.trust_remote_code)
            for name in goal.model_names(Space.from_json(spec.space), spec.model)
        }
        self.dataset: Dataset = data.prepare(spec.data, spec.task, seed=spec.seed, folder=folder)
        self._engines: OrderedDict[str, Engine] = OrderedDict()
        self._capacities: dict[str, int] = {}
        """Of every base that has been loaded, also where it was dropped since."""
        self._pin()

    def engine(self, model: str) -> Engine:
        """The engine of one base model: loaded and tokenised at its first use."""
        from autoglm_nb import data, models
        from autoglm_nb.models.four_bit import FOUR_BIT
        from autoglm_nb.training import Engine, release_memory

        if model in self._engines:
            self._engines.move_to_end(model)
            return self._engines[model]
        # one with runs under way stays: dropped, it would be kept by its runs and loaded a second time beside them
        idle = [name for name, engine in self._engines.items() if not engine.groups()]
        while len(self._engines) >= MODELS_IN_MEMORY and idle:
            device = self._engines.pop(idle.pop(0)).device
            release_memory(device)  # an engine and its parts know each other: only a collection frees the base
        spec = self._context.spec
        label_names = list(self.dataset.label_names)
        base = models.load_base(
            self.resolved[model],
            task=self.task,
            label_names=label_names,
            device=self._context.device,
            precision=spec.precision if spec.precision in FOUR_BIT else "auto",
            base_dropout=spec.base_dropout,
        )
        encoded = data.encode(
            self.dataset,
            base.tokenizer,
            max_length=spec.max_length,
            model_limit=getattr(base.model.config, "max_position_embeddings", None),
            cache=settings.cache_dir() / "encoded",
        )
        engine = Engine(
            base,
            encoded,
            device=self._context.device,
            precision=spec.precision,
            gradient_checkpointing=spec.gradient_checkpointing,
        )
        engine.capacity, engine.why_alone = self._capacity(engine)
        self._engines[model] = engine
        self._capacities[model] = engine.capacity
        return engine

    def _capacity(self, engine: Engine) -> tuple[int, str]:
        """How many trials to train side by side, and why if it is one: by measurement unless asked for."""
        from autoglm_nb.training import PACKED_METHODS

        spec, space = self._context.spec, Space.from_json(self._context.spec.space)
        if spec.base_dropout:
            return 1, "The base's own dropout is drawn for a pass as a whole (`--base-dropout`)."
        if self._context.careful:
            return 1, "The worker died twice without progress; trials run one at a time to find out which one does it."
        if "memory_gb" in goal.judged(spec):
            return 1, "Trials are judged by `memory_gb`, and only one that trains alone has a peak of its own."
        if spec.pack is not None:
            return max(1, spec.pack), "One trial at a time was asked for (`--pack 1`)."
        if not set(goal.choices(space, "method", "lora")) & set(PACKED_METHODS):
            return 1, "No method of the search space can share a pass."
        # those with the smallest batches make the most steps, so passes are as many as theirs
        size = min(float(size) for size in goal.choices(space, "batch_size", 16))
        lengths = engine.data.train.lengths
        tokens = size * float(sum(lengths)) / max(1, len(lengths))
        capacity = engine.packer.good_capacity(tokens)
        share = engine.packer.overhead_tokens / max(tokens, 1.0)
        return capacity, (
            f"A pass costs {share:.0%} beyond its {tokens:.0f} tokens on this device: sharing passes would gain "
            "less than waiting for each result does."
        )

    def can_hold(self, model: str, under_way: int = 0) -> bool:
        """Whether this base is in memory or may be loaded now: one with runs under way is never dropped.

        Nor is one loaded that is known to take no run beside those under way: two that wait would
        drop each other again and again.
        """
        if model in self._engines:
            return True
        if under_way >= self._capacities.get(model, under_way + 1):
            return False
        if len(self._engines) < MODELS_IN_MEMORY:
            return True
        return not all(engine.groups() for engine in self._engines.values())

    def note_engines(self) -> None:
        """Store how the loaded bases computed: number format, products, shared prefix."""
        context = self._context
        pinned = context.store.provenance(context.study)
        told = {**(pinned.get("engines") or {}), **{name: e.describe() for name, e in self._engines.items()}}
        context.store.set_provenance(context.study, {**pinned, "engines": told})

    def capacity(self) -> int:
        """The most trials that any loaded base trains side by side."""
        return max((engine.capacity for engine in self._engines.values()), default=1)

    def is_decoder(self, model: str) -> bool:
        return self.resolved[model].family == "decoder"

    def _pin(self) -> None:
        """Store what was resolved; compare with what the study began with."""
        context = self._context
        pinned = context.store.provenance(context.study)
        from autoglm_nb import data

        found: dict[str, Any] = {
            "models": {name: _model_facts(resolved) for name, resolved in self.resolved.items()},
            "data": data.describe(self.dataset),
        }
        for name, facts in (pinned.get("models") or {}).items():
            now = found["models"].get(name)
            if now and now["checksum"] != facts["checksum"]:
                raise StudyMismatchError(
                    f"Study {context.study!r} must go on with the model it began with, but {name!r} now has checksum "
                    f"{now['checksum'][:12]} instead of {facts['checksum'][:12]}. Start a new study with `--fork`."
                )
        before = (pinned.get("data") or {}).get("checksum")
        if before and before != found["data"]["checksum"]:
            raise StudyMismatchError(
                f"Study {context.study!r} must go on with the data it began with, but {context.spec.data.source!r} "
                "has changed since. Start a new study with `--fork`."
            )
        context.store.set_provenance(
            context.study, {**pinned, **found, "versions": _versions(), "machine": _machine(context.device)}
        )


def _model_facts(resolved: ResolvedModel) -> dict[str, Any]:
    keys = ("name", "source", "version", "checksum", "base_id", "revision", "family")
    return {key: getattr(resolved, key) for key in keys}


def _versions() -> dict[str, str]:
    packages = ("autoglm-nb", "torch", "transformers", "peft", "optuna")
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def _machine(device: str) -> dict[str, Any]:
    import torch

    return {
        "system": platform.system(),
        "processor": platform.machine(),
        "device": device,
        "gpu": torch.cuda.get_device_name(device) if device.startswith("cuda") else None,
        "threads": torch.get_num_threads(),
    }
