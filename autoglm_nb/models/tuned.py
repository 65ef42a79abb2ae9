"""A tuned model to answer with: base, adapter, tokenizer and label names in one handle.

Texts are grouped by length before they are batched, so that little is spent on
padding; answers come back in the order of the texts.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoglm_nb.errors import ModelError
from autoglm_nb.models.adapters import AdapterCard, load_adapter, read_card
from autoglm_nb.models.loading import load_base
from autoglm_nb.models.resolving import resolve, resolve_base

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import nn
    from transformers import PreTrainedTokenizerBase

__all__ = ["TunedModel"]


class TunedModel:
    """A saved adapter on its base. Not thread-safe; holds the base in memory.

    Attributes:
        model: the module, in evaluation mode.
        tokenizer: as it was at training.
        card: what was stored about it.
    """

    def __init__(self, model: nn.Module, tokenizer: PreTrainedTokenizerBase, card: AdapterCard, device: str) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.card = card
        self.device = device

    @classmethod
    def load(cls, folder: str | Path, device: str = "cpu", *, base: str | Path | None = None) -> TunedModel:
        """Load an adapter and the base it names.

        Args:
            folder: what `save_adapter` wrote.
            device: "cpu", "cuda", "cuda:1".
            base: folder of the base model, where it cannot be found by its name.

        Raises:
            ModelError: not an adapter, or its base cannot be had.
        """
        folder = Path(folder)
        card = read_card(folder)
        resolved = resolve(str(base)) if base is not None else resolve_base(card.base)
        if any(getattr(resolved, key) != card.base[key] for key in ("family", "hidden_size", "num_layers")):
            raise ModelError(
                f"The base must be {card.base['base_id']} ({_shape(card.base)}), but {resolved.name!r} is "
                f"{_shape(resolved.provenance())}. Give the folder of that base."
            )
        if resolved.checksum != card.base["checksum"]:
            warnings.warn(
                f"The base given has other weights (SHA-256 {resolved.checksum[:12]}) than the one this adapter was "
                f"trained on ({card.base['checksum'][:12]}): its stored metrics do not hold.",
                stacklevel=2,
            )
        loaded = load_base(resolved, task=card.task, label_names=card.label_names or None, device=device)
        return cls(load_adapter(folder, loaded).to(device), _saved_tokenizer(folder), card, device)

    @property
    def label_names(self) -> list[str]:
        """Class names in the order of `predict_proba`'s columns."""
        return self.card.label_names

    def predict(self, texts: str | Sequence[str], *, batch_size: int = 32) -> Any:
        """The label of each text (of one text, its label)."""
        if isinstance(texts, str):
            return self.predict([texts], batch_size=1)[0]
        return [self.label_names[i] for i in self.predict_proba(texts, batch_size=batch_size).argmax(-1)]

    def predict_proba(self, texts: Sequence[str], *, batch_size: int = 32) -> np.ndarray:
        """Probability of each class, (texts, classes), float32.

        Raises:
            ModelError: a language model was loaded, or something that is not text was given.
        """
        import numpy as np
        import torch

        self._require("classification", "predict")
        encoded = self._encode(texts)
        answers = np.zeros((len(encoded), len(self.label_names)), dtype=np.float32)
        with torch.inference_mode():
            for rows, batch in self._batches(encoded, batch_size):
                logits = self.model(**batch).logits.float()
                answers[rows] = logits.softmax(-1).cpu().numpy()
        return answers

    def generate(
        self, prompts: str | Sequence[str] | Sequence[dict[str, str]], max_new_tokens: int = 64, **options: Any
    ) -> Any:
        """The text that follows each prompt, greedily unless `options` (of transformers) say otherwise.

        Args:
            prompts: a text, a list of texts, or one chat as a list of messages with role and content.
            max_new_tokens: at most so many tokens each.
        """
        import torch

        self._require("causal-lm", "generate")
        if isinstance(prompts, str):
            return self.generate([prompts], max_new_tokens, **options)[0]
        if prompts and isinstance(prompts[0], dict):
            text = self.tokenizer.apply_chat_template(list(prompts), tokenize=False, add_generation_prompt=True)
            return self.generate(str(text), max_new_tokens, **options)
        settings = {"do_sample": False, "pad_token_id": self.tokenizer.pad_token_id, **options}
        answers = []
        for ids in self._encode([str(p) for p in prompts]):  # one by one: no padding before the text
            batch = torch.tensor([ids], device=self.device)
            with torch.inference_mode(), warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # PEFT says that prompts ignore position ids
                made = self.model.generate(  # type: ignore[operator]
                    input_ids=batch, attention_mask=torch.ones_like(batch), max_new_tokens=max_new_tokens, **settings
                )[0]
            new = made[len(ids) :] if made[: len(ids)].tolist() == ids else made
            answers.append(self.tokenizer.decode(new, skip_special_tokens=True))
        return answers

    def perplexity(self, texts: Sequence[str], *, batch_size: int = 8) -> float:
        """exp of the mean loss per predicted token over all texts."""
        import math

        import torch

        self._require("causal-lm", "perplexity")
        total, count = 0.0, 0
        with torch.inference_mode():
            for _, batch in self._batches(self._encode(texts), batch_size):
                logits = self.model(**batch).logits.float()[:, :-1]
                wanted = batch["input_ids"][:, 1:].masked_fill(batch["attention_mask"][:, 1:] == 0, -100)
                losses = torch.nn.functional.cross_entropy(logits.flatten(0, 1), wanted.flatten(), reduction="sum")
                total += float(losses)
                count += int((wanted != -100).sum())
        if not count:
            raise ModelError("Perplexity needs texts of at least two tokens, but there is nothing to predict in these.")
        return math.exp(total / count)

    def __repr__(self) -> str:
        return f"TunedModel({self.card.base['base_id']}, {self.card.method['method']}, {self.card.task})"

    def _require(self, task: str, what: str) -> None:
        if self.card.task != task:
            raise ModelError(
                f"`{what}` needs a model tuned for {task}, but this one was tuned for {self.card.task}. "
                f"Use {'predict' if task == 'causal-lm' else 'generate'}."
            )

    def _encode(self, texts: Sequence[str]) -> list[list[int]]:
        wrong = next((t for t in texts if not isinstance(t, str)), None)
        if wrong is not None:
            raise ModelError(f"Texts must be strings, but got {wrong!r}. Convert the column with str first.")
        if not len(texts):
            return []
        ids: list[list[int]] = self.tokenizer(
            list(texts),
            truncation=True,
            max_length=self.card.max_length or self.tokenizer.model_max_length,
        )["input_ids"]
        return ids

    def _batches(self, encoded: list[list[int]], size: int) -> Iterator[tuple[list[int], dict[str, torch.Tensor]]]:
        """Rows of like length together, padded on the right."""
        import torch

        order = sorted(range(len(encoded)), key=lambda i: len(encoded[i]))
        pad = self.tokenizer.pad_token_id
        for start in range(0, len(order), size):
            rows = order[start : start + size]
            longest = max(1, max(len(encoded[i]) for i in rows))
            ids = torch.full((len(rows), longest), pad, dtype=torch.long)
            mask = torch.zeros((len(rows), longest), dtype=torch.long)
            for line, i in enumerate(rows):
                ids[line, : len(encoded[i])] = torch.tensor(encoded[i], dtype=torch.long)
                mask[line, : len(encoded[i])] = 1
            yield rows, {"input_ids": ids.to(self.device), "attention_mask": mask.to(self.device)}


def _shape(base: dict[str, Any]) -> str:
    article = "an" if base["family"] == "encoder" else "a"
    return f"{article} {base['family']} of {base['num_layers']} layers, {base['hidden_size']} wide"


def _saved_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    from transformers import AutoTokenizer

    from autoglm_nb.models.loading import quiet_transformers

    with quiet_transformers():
        return AutoTokenizer.from_pretrained(folder)
