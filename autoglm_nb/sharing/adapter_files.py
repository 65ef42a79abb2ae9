"""The adapter inside a shared zip: which files are taken, and what may stand in them.

Settings that PEFT or transformers would follow to code are refused (`auto_map`,
`auto_mapping`), and so is every field of `adapter_config.json` that this package does not
write itself. Tensors are safetensors whose header is read before they are kept. The base
model is named by an id, never by a place.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autoglm_nb.errors import SharedFileError
from autoglm_nb.models.adapters import CARD_FILE, CARD_VERSION, PEFT_CONFIG
from autoglm_nb.sharing import layout, values
from autoglm_nb.sharing.archive import Archive

__all__ = ["PEFT_FIELDS", "unpack_adapter"]

PEFT_FIELDS = frozenset(
    {"base_model_name_or_path", "revision", "task_type", "inference_mode", "peft_type", "modules_to_save"}
    | {"r", "lora_alpha", "lora_dropout", "target_modules", "use_rslora", "use_dora", "bias", "fan_in_fan_out"}
    | {"init_lora_weights", "num_virtual_tokens", "token_dim", "num_transformer_submodules", "num_attention_heads"}
    | {"num_layers", "prompt_tuning_init", "encoder_reparameterization_type", "encoder_hidden_size"}
)
"""The fields of `adapter_config.json` that `models.save_adapter` writes."""

_MODEL_ID = re.compile(r"[\w][\w .+-]{0,95}(?:/[\w][\w.+-]{0,95})?")
_CHECKSUM = re.compile(r"[0-9a-f]{64}")
_RUN = re.compile(r"trial-\d{4,9}")
_CODE = ("auto_map", "auto_mapping", "custom_pipelines", "trust_remote_code")
_BASE_TEXTS = ("name", "base_id", "revision", "source", "version", "checksum", "family")


def unpack_adapter(archive: Archive, folder: Path) -> str | None:
    """Write the adapter, if there is one, below a study's folder; the name of its run.

    Raises:
        SharedFileError: a file of it is not what it may be.
        DiskFullError: it does not fit.
    """
    run, names = archive.manifest.get("adapter"), [n for n in archive.names if n.startswith(layout.ADAPTER)]
    if run is None and not names:
        return None
    if not isinstance(run, str) or not _RUN.fullmatch(run) or layout.ADAPTER + CARD_FILE not in names:
        raise values.wrong("the adapter", "of a trial, with its card")
    target = folder / run / "adapter"
    target.mkdir(parents=True)
    for name in names:
        if name.endswith(".json"):
            content = archive.json(name)
            _refuse_code(content, name)
            if name == layout.ADAPTER + CARD_FILE:
                _check_card(content)
            elif name == layout.ADAPTER + PEFT_CONFIG:
                _check_peft(content)
        path = target / name.removeprefix(layout.ADAPTER)
        archive.unpack(name, path)
        if path.suffix == ".safetensors":
            _check_tensors(path, name)
    return run


def _check_card(raw: Any) -> None:
    card = values.mapping(raw, "the adapter's card")
    if values.whole(card.get("version"), "the version of the adapter's card") > CARD_VERSION:
        raise SharedFileError(
            f"The adapter in this file has version {card['version']}, but this autoglm_nb reads versions up to "
            f"{CARD_VERSION}. Upgrade autoglm_nb to open it."
        )
    values.one_of(card.get("task"), "the adapter's task", ("classification", "causal-lm"))
    values.listed(card.get("label_names"), "a label", values.text, most=100_000)
    method = values.mapping(card.get("method"), "the adapter's method")
    values.plain(method, "the adapter's method")
    base = values.mapping(card.get("base"), "the adapter's base model")
    for key in _BASE_TEXTS:
        values.text(base.get(key), f"the base model's {key}", limit=300)
    for key in ("name", "base_id"):
        _check_id(base[key])
    if not _CHECKSUM.fullmatch(base["checksum"]):
        raise values.wrong("the base model's checksum", "a SHA-256")
    for key in ("hidden_size", "num_layers"):
        values.whole(base.get(key), f"the base model's {key}")


def _check_peft(raw: Any) -> None:
    config = values.mapping(raw, "adapter_config.json")
    unknown = sorted(set(config) - PEFT_FIELDS)
    if unknown:
        raise values.wrong("adapter_config.json", f"without {values.text(unknown[0], 'a field', limit=60)!r}")
    _check_id(config.get("base_model_name_or_path"))
    for name in values.listed(config.get("target_modules") or [], "a target module", values.text, most=10_000):
        if not re.fullmatch(r"[\w.]{1,300}", name):  # PEFT reads anything else as a pattern
            raise values.wrong("a target module", "a module's name")


def _check_id(raw: Any) -> None:
    name = values.text(raw, "the base model's name", limit=200)
    if not _MODEL_ID.fullmatch(name) or ".." in name:
        raise values.wrong("the base model's name", "a model's id, not a place")


def _refuse_code(raw: Any, name: str) -> None:
    """Refuses settings that name code to be run, however deep they lie in what may be set."""
    if not isinstance(raw, Mapping):
        return
    for key in _CODE:
        if raw.get(key):
            raise SharedFileError(
                f"{name!r} asks for code of its own ({key}), which a shared adapter must not. It is not opened; "
                "ask for a file made with `%autotune share`."
            )


def _check_tensors(path: Path, name: str) -> None:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            list(file.keys())
    except (SafetensorError, OSError, ValueError) as error:
        raise SharedFileError(f"{name!r} must hold safetensors, but cannot be read as such ({error}).") from None
