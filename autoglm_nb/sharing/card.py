"""The model card of a shared adapter: `README.md` with the front matter that model hubs read.

Front matter is YAML; every text in it is written as a JSON string, which YAML reads as
it stands, so that no label or name can add a key. See the hub's documentation,
"Model Cards" (base_model, library_name, pipeline_tag, tags, metrics).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from autoglm_nb.record import Story, words

__all__ = ["model_card"]

_TASKS = {"classification": "text-classification", "causal-lm": "text-generation"}
_PEFT = ("lora", "dora", "prompt", "p-tuning")


def model_card(adapter: Mapping[str, Any], snapshot: Mapping[str, Any]) -> str:
    """The card as Markdown.

    Args:
        adapter: `autoglm.json` of the adapter.
        snapshot: the study's, free of private names.
    """
    story = Story(snapshot)
    base = adapter.get("base") or {}
    method = str((adapter.get("method") or {}).get("method", ""))
    peft = method in _PEFT
    name = words.clean(base.get("base_id") or story.study.get("model") or "", 200)
    front: dict[str, Any] = {
        "base_model": name,
        "base_model_relation": "adapter",
        "library_name": "peft" if peft else "autoglm_nb",
        "pipeline_tag": _TASKS.get(str(adapter.get("task")), "other"),
        "tags": ["autoglm_nb", *([method] if method else []), str(adapter.get("task") or "")],
        "metrics": [str(snapshot["study"].get("metric") or "")],
    }
    labels = ", ".join(_line(label) for label in adapter.get("label_names") or [])
    lines = [
        "---", *_yaml(front), "---", "",
        f"# {_line(story.name)}", "",
        f"A {_line(method or 'tuned')} adapter for {_line(name)}, tuned on {_line(snapshot['study'].get('data'))}: "
        f"the best of {story.headline.get('finished')} configurations.", "",
        "## Results", "",
        f"- Selected on the validation split: {_line(story.best)} {_line(story.gain)}".rstrip(),
    ]  # fmt: skip
    if story.has_final:
        lines += ["", f"{_line(story.final_caption)}:", "", "| | Mean | 95 % interval |", "|---|---:|---:|"]
        lines += [f"| {' | '.join(_line(cell) for cell in row)} |" for row in story.final_rows()]
        lines += ["", _line(story.final_sentence)] if story.final_sentence else []
    lines += ["", "## Configuration", ""]
    best = dict(story.headline.get("best_config") or {})
    lines += [f"- {_line(key)}: {_line(value)}" for key, value in words.config_items(best)]
    lines += ["", f"Labels, by class id: {labels}."] if labels else []
    lines += ["", "## Base model", "", f"- {_line(name)}, revision {_line(base.get('revision') or 'unknown')}"]
    lines += [f"- SHA-256 of its weights: {_line(base.get('checksum') or 'unknown')}", "", "## Use", "", "```python"]
    if peft:
        loader = "AutoModelForSequenceClassification" if adapter.get("task") == "classification" else (
            "AutoModelForCausalLM"
        )  # fmt: skip
        count = len(adapter.get("label_names") or [])
        more = f", num_labels={count}" if adapter.get("task") == "classification" and count else ""
        lines += [
            "from peft import PeftModel",
            f"from transformers import {loader}",
            "",
            f"base = {loader}.from_pretrained({json.dumps(name)}{more})",
            'model = PeftModel.from_pretrained(base, "adapter")',
        ]
    else:
        lines += ["from autoglm_nb.models import TunedModel", "", 'model = TunedModel.load("adapter")']
    lines += ["```", "", "## Limits", "", "Measured on the data named above alone; see `report.html` beside this file."]
    return "\n".join(lines) + "\n"


def _yaml(front: Mapping[str, Any]) -> list[str]:
    lines = []
    for key, value in front.items():
        if isinstance(value, list):
            lines += [f"{key}:", *(f"- {_quoted(item)}" for item in value if item)]
        else:
            lines.append(f"{key}: {_quoted(value)}")
    return lines


def _quoted(value: object) -> str:
    return json.dumps(words.clean(value, 200), ensure_ascii=False)


def _line(text: object) -> str:
    """One line in which nothing is Markdown or HTML by accident."""
    out = words.clean(text, 300)
    for sign in "\\`*[]<>|#":
        out = out.replace(sign, "\\" + sign)
    return out
