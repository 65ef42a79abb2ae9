"""`OpenAutoGLM`: one model, tuned by hand, with the same adapters a study makes.

>>> model = OpenAutoGLM.from_pretrained("minilm", task="classification", num_labels=2)  # doctest: +SKIP
>>> model.enable_lora(rank=8, dropout=0.1)                                             # doctest: +SKIP
>>> scheduler = AdaptiveLR(optimizer, warmup_steps=500)                                # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from autoglm_nb.errors import ModelError

if TYPE_CHECKING:
    from torch import nn

    from autoglm_nb.models import LoadedBase

__all__ = ["OpenAutoGLM"]


class OpenAutoGLM:
    """A base model with its tokeniser, and at most one fine-tuning method on it.

    Calling it calls the model; `parameters()` are the trainable ones.
    """

    def __init__(self, base: LoadedBase) -> None:
        self._base = base
        self.model: nn.Module = base.model
        self.tokenizer = base.tokenizer
        self.method: str | None = None

    @classmethod
    def from_pretrained(
        cls,
        name: str,
        *,
        task: str = "classification",
        num_labels: int | None = None,
        label_names: list[str] | None = None,
        device: str = "cpu",
        dtype: str = "float32",
        trust_remote_code: bool = False,
    ) -> OpenAutoGLM:
        """Load a catalogue name, a local folder or a hub id.

        Raises:
            ModelError: it cannot be found, or has no safetensors weights.
        """
        from autoglm_nb import models

        if task == "classification" and num_labels is None and label_names is None:
            num_labels = 2
        resolved = models.resolve(name, trust_remote_code=trust_remote_code)
        return cls(
            models.load_base(
                resolved,
                task=task,
                num_labels=num_labels or (len(label_names) if label_names else None),
                label_names=label_names,
                device=device,
                dtype=dtype,
            )
        )

    def enable_lora(
        self, rank: int = 8, *, alpha: float | None = None, dropout: float = 0.0, **options: Any
    ) -> OpenAutoGLM:
        """Add LoRA adapters (PEFT's own); alpha is 2 x rank unless given.

        Raises:
            ModelError: a method is enabled already, or the rank does not fit.
        """
        return self.enable("lora", rank=rank, alpha=2 * rank if alpha is None else alpha, dropout=dropout, **options)

    def enable(self, method: str, **config: Any) -> OpenAutoGLM:
        """Add any fine-tuning method by name, with its hyper-parameters.

        Raises:
            ModelError: a method is enabled already, is unknown, or does not fit the model.
        """
        from autoglm_nb import models

        if self.method is not None:
            raise ModelError(
                f"A model takes one fine-tuning method, but {self.method!r} is enabled already. "
                "Load the model again for another one."
            )
        checked = models.method_config({"method": method, **config}, self._base)
        self.model = models.apply_method(self._base.model, checked)
        self.method = method
        return self

    def parameters(self) -> Iterator[Any]:
        """The trainable parameters, for an optimizer."""
        return (p for p in self.model.parameters() if p.requires_grad)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.model(*args, **kwargs)
