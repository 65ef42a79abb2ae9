"""What can be said about a model by its name alone, in the kernel and without torch.

`check` reads a `config.json` (from the catalogue, a local folder, the hub
library's cache or, for a hub id never used before, one short request) and
gives a `ModelReport`: enough to choose the task, to refuse a rank larger than
the layer, and to say whether a download is ahead.
"""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoglm_nb import probe, settings
from autoglm_nb.errors import ModelError, did_you_mean
from autoglm_nb.models.catalogue import CATALOGUE, HUB_ALIASES, CatalogueEntry, canonical_name

__all__ = ["ModelReport", "catalogue_folder", "check", "find_local", "report_of", "require_safetensors"]

VOCABULARY = 40_000
"""Tokens, where a model does not say."""

DECODER_TYPES = frozenset(
    (
        "bloom",
        "codegen",
        "cohere",
        "falcon",
        "gemma",
        "gemma2",
        "gemma3",
        "gemma3_text",
        "glm",
        "glm4",
        "gpt2",
        "gpt_neo",
        "gpt_neox",
        "gptj",
        "granite",
        "llama",
        "mistral",
        "mixtral",
        "olmo",
        "olmo2",
        "opt",
        "phi",
        "phi3",
        "qwen2",
        "qwen2_moe",
        "qwen3",
        "qwen3_moe",
        "smollm3",
        "stablelm",
        "starcoder2",
    )
)


@dataclass(frozen=True)
class ModelReport:
    """The shape of a model.

    Attributes:
        name: the catalogue name, hub id or folder.
        family: "encoder" or "decoder".
        hidden_size: width of the residual stream.
        layers: number of transformer layers.
        local: whether the files are on this machine, so that no download is ahead.
        key_value_size: output width of the key and value projections (smaller with grouped queries).
        intermediate_size: inner width of the feed-forward layers.
        heads: attention heads of a layer.
        matrices: parameters of the layers' matrices, about; 4-bit formats are for these.
        embeddings: parameters of the token embeddings, and of the output layer where it is one of its own.
        max_length: the longest input the model was made for, in tokens; None where it does not say.
        download_mb: about how much there is to fetch; 0 when `local`, None when unknown.
        doc: one line about the model; empty outside the catalogue.
    """

    name: str
    family: str
    hidden_size: int
    layers: int
    local: bool
    key_value_size: int
    intermediate_size: int
    heads: int
    matrices: int
    embeddings: int
    max_length: int | None = None
    download_mb: int | None = None
    doc: str = ""

    def smallest_layer(self, targets: object) -> int:
        """The largest rank that an adapter on `targets` ("qv", "attention", "all-linear" or names) can have."""
        attention = min(self.hidden_size, self.key_value_size)
        return min(attention, self.intermediate_size) if targets == "all-linear" else attention


def check(name: str) -> ModelReport:
    """What is known about a model before it is loaded; imports neither torch nor transformers.

    Args:
        name: a catalogue name, a local folder or a hub id.

    Raises:
        ModelError: the name is unknown, its hub cannot be reached, or its weights are pickles.
    """
    if not isinstance(name, str) or not name.strip():
        raise ModelError(f"`model` must be a name, but got {name!r}. {did_you_mean('', list(CATALOGUE))}")
    known = canonical_name(name)
    entry = CATALOGUE.get(known)
    folder = find_local(known)
    if folder is not None:
        require_safetensors(folder)
        return report_of(known, _read_config(folder / "config.json"), local=True, entry=entry)
    if entry is not None:
        return report_of(known, entry.config, local=False, entry=entry)
    _refuse_path(name)
    if not probe.hub_reachable():
        raise _unreachable(name, known)
    return report_of(known, _hub_config(name, known), local=False, entry=None)


def find_local(known: str) -> Path | None:
    """The folder that holds a model already, by canonical name: cache, hub library's cache, or a path.

    A copy made earlier is kept even when the hub answers now, so that a study
    goes on with the weights it was begun with.
    """
    entry = CATALOGUE.get(known)
    if entry is not None:
        snapshot = _hub_snapshot(entry.hub_id, entry.revision)
        if snapshot is not None:
            return snapshot
        folder = catalogue_folder(entry)
        return folder if (folder / "config.json").is_file() else None
    try:
        path = Path(known).expanduser()
        folder_there = path.is_dir()
    except (OSError, ValueError, RuntimeError) as error:
        raise ModelError(
            f"`model` must be a catalogue name, a local folder or a hub id, but {known[:60]!r} is no file's name. "
            + did_you_mean("", list(CATALOGUE))
        ) from error
    if folder_there:
        if not (path / "config.json").is_file():
            raise ModelError(_not_a_model(known, path))
        return path.resolve()
    if known.count("/") > 1 or known.startswith((".", "~", "/")):
        return None
    return _hub_snapshot(known, None)


def catalogue_folder(entry: CatalogueEntry) -> Path:
    """Where the copy from the package index is cached; another version of the package is another folder."""
    return settings.cache_dir() / "models" / f"{entry.name}-{entry.package.package}-{entry.package.version}"


def require_safetensors(folder: Path) -> None:
    """Refuse a model folder whose weights are only there as pickles.

    Raises:
        ModelError: no safetensors file in `folder`.
    """
    if any(folder.glob("*.safetensors")):
        return
    pickles = sorted(p.name for pattern in ("*.bin", "*.pt", "*.pth", "*.ckpt") for p in folder.glob(pattern))
    if pickles:
        raise ModelError(
            f"Model weights must be safetensors, but {folder.name!r} has only {pickles[0]}, a pickle that can run "
            "code when it is read. Load it once where you trust it and call save_pretrained(folder), then use that "
            "folder."
        )
    raise ModelError(
        f"A model folder must hold config.json and *.safetensors, but {folder.name!r} has no weights. "
        "Give the folder that save_pretrained wrote."
    )


def report_of(name: str, config: Mapping[str, Any], *, local: bool, entry: CatalogueEntry | None) -> ModelReport:
    """Read the shape out of a `config.json`.

    Raises:
        ModelError: an encoder-decoder model, or a config without the usual sizes.
    """
    if config.get("is_encoder_decoder"):
        raise ModelError(
            f"A model must be an encoder or a decoder, but {name!r} is both (encoder-decoder). "
            "Choose minilm for classification or smollm2-135m for text generation."
        )
    inner: Mapping[str, Any] = config.get("text_config") or config
    hidden = _first(inner, "hidden_size", "n_embd", "d_model", "dim")
    layers = _first(inner, "num_hidden_layers", "n_layer", "n_layers", "num_layers")
    if hidden is None or layers is None:
        raise ModelError(
            f"A model's config.json must state its width and depth, but that of {name!r} "
            f"(model_type {config.get('model_type')!r}) has no hidden_size or num_hidden_layers. Choose a text model."
        )
    heads = _first(inner, "num_attention_heads", "n_head", "n_heads") or 1
    head_size = inner.get("head_dim") or hidden // heads
    key_value_size = int((inner.get("num_key_value_heads") or heads) * head_size)
    wide = _first(inner, "intermediate_size", "n_inner", "ffn_dim", "hidden_dim") or 4 * hidden
    # models of Llama's line (norms by the root mean square) gate their feed-forward layers by a third matrix
    gated = "rms_norm_eps" in inner
    experts = _first(inner, "num_local_experts", "num_experts")
    inner_sizes = wide if experts is None else experts * (_first(inner, "moe_intermediate_size") or wide)
    forward = (3 if gated else 2) * inner_sizes
    own_layers = _first(inner, "num_hidden_groups") or layers  # ALBERT runs few layers many times
    family = _family(config)
    ties = not gated or str(config.get("model_type")).startswith("gemma")
    tied = family == "encoder" or inner.get("tie_word_embeddings", config.get("tie_word_embeddings", ties))
    return ModelReport(
        name=name,
        family=family,
        hidden_size=hidden,
        layers=layers,
        local=local,
        key_value_size=key_value_size,
        intermediate_size=wide,
        heads=heads,
        matrices=own_layers * hidden * int(2 * heads * head_size + 2 * key_value_size + forward),
        embeddings=(_first(inner, "vocab_size") or VOCABULARY) * hidden * (1 if tied else 2),
        max_length=entry.max_length if entry else _first(inner, "max_position_embeddings", "n_positions"),
        download_mb=0 if local else (entry.package.download_mb if entry else None),
        doc=entry.doc if entry else "",
    )


def _first(config: Mapping[str, Any], *keys: str) -> int | None:
    return next((int(config[key]) for key in keys if isinstance(config.get(key), int)), None)


def _family(config: Mapping[str, Any]) -> str:
    architectures = " ".join(config.get("architectures") or ())
    if "ForCausalLM" in architectures or "LMHeadModel" in architectures or config.get("is_decoder"):
        return "decoder"
    return "decoder" if config.get("model_type") in DECODER_TYPES else "encoder"


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(
            f"A model's config.json must be readable JSON, but that in {path.parent.name!r} is not "
            f"({getattr(error, 'strerror', None) or error}). "
            "Save the model again with save_pretrained."
        ) from error
    if not isinstance(config, dict):
        raise ModelError(f"A model's config.json must be a JSON object, but that in {path.parent.name!r} is not.")
    return config


def _hub_snapshot(hub_id: str, revision: str | None) -> Path | None:
    """The snapshot folder of a hub id in the hub library's cache, by path alone."""
    repo = _hub_cache() / f"models--{hub_id.replace('/', '--')}"
    if revision is None:
        try:
            revision = (repo / "refs" / "main").read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            return None
    folder = repo / "snapshots" / revision
    complete = (folder / "config.json").is_file() and any(folder.glob("*.safetensors"))
    return folder if complete else None


def _hub_cache() -> Path:
    for variable, tail in (("HF_HUB_CACHE", ""), ("HUGGINGFACE_HUB_CACHE", ""), ("HF_HOME", "hub")):
        if given := os.environ.get(variable):
            return Path(given).expanduser() / tail
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "huggingface" / "hub"


def _hub_config(name: str, hub_id: str) -> dict[str, Any]:
    """One short request for the `config.json` of a hub id."""
    headers = {"User-Agent": "autoglm_nb"}
    token = os.environ.get("HF_TOKEN")
    if token:
        headers["Authorization"] = f"Bearer {token}"
    request = urllib.request.Request(f"{probe.endpoint()}/{hub_id}/resolve/main/config.json", headers=headers)
    try:
        with probe.open_url(request, settings.hub_probe_seconds()) as response:
            config = json.load(response)
    except urllib.error.HTTPError as error:
        if error.code in (401, 403):
            raise ModelError(
                f"The hub must let you read {hub_id!r}, but it refused (HTTP {error.code}): the model is gated, "
                "private "
                "or does not exist. Accept its licence on the hub and set HF_TOKEN, or check the name."
            ) from error
        raise _unknown(name) from error
    except (OSError, ValueError) as error:
        raise _unreachable(name, hub_id) from error
    return config if isinstance(config, dict) else {}


def _refuse_path(name: str) -> None:
    if name.startswith((".", "~", "/")) or name.count("/") > 1 or "\\" in name:
        raise ModelError(
            f"A local model must be a folder with config.json and safetensors, but {name!r} does not exist. "
            "Check the path, or give a catalogue name such as 'minilm'."
        )


def _not_a_model(name: str, path: Path) -> str:
    if (path / "adapter_config.json").is_file() or (path / "autoglm.json").is_file():
        return (
            f"`model` must be a base model, but {name!r} is a saved adapter. "
            "Load it with TunedModel.load, or give the base it was trained on."
        )
    return (
        f"A local model must be a folder with config.json and safetensors, but {name!r} has no config.json. "
        "Give the folder that save_pretrained wrote."
    )


def _unknown(name: str) -> ModelError:
    remedy = did_you_mean(name.lower(), [*CATALOGUE, *HUB_ALIASES])
    return ModelError(
        f"`model` must be a catalogue name ({', '.join(CATALOGUE)}), a local folder or a hub id, but got {name!r}. "
        f"{remedy}"
    )


def _unreachable(name: str, hub_id: str) -> ModelError:
    if "/" not in hub_id:
        return _unknown(name)
    meant = f"{name!r} (hub id {hub_id})" if name != hub_id else f"{name!r}"
    return ModelError(
        f"A model that is not on this machine needs a reachable model hub, but {meant} is not here and no hub answers. "
        f"Choose one of {', '.join(CATALOGUE)}, give a local folder, or set HF_ENDPOINT to a mirror."
    )
