"""A finished study with two people's notes, a fabricated adapter and everything that must stay at home."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest

from autoglm_nb.protocol import DataSpec, RunRole, StudySpec, StudyState, TrialState
from autoglm_nb.space import parse_cell
from autoglm_nb.store import Store
from autoglm_nb.store.optuna_rows import insert_study

optuna.logging.set_verbosity(optuna.logging.WARNING)

CELL = "learning_rate = loguniform(1e-5, 1e-2)\nrank = choice(2, 4, 8)\nmethod = 'lora'"
CHECKSUM = "ab" * 32
CARD = {
    "version": 1,
    "method": {"method": "lora", "task": "classification", "rank": 4},
    "task": "classification",
    "label_names": ["negative", "positive"],
    "base": {
        "name": "tiny", "base_id": "tiny", "revision": f"sha256:{CHECKSUM}", "source": "local", "version": "",
        "checksum": CHECKSUM, "family": "encoder", "hidden_size": 32, "num_layers": 2,
    },
    "max_length": 64, "metrics": {"accuracy": 0.9}, "versions": {"peft": "0.17.0"}, "extra": {"run": "trial-0002"},
}  # fmt: skip
PEFT = {
    "base_model_name_or_path": "tiny", "revision": f"sha256:{CHECKSUM}", "task_type": "SEQ_CLS", "peft_type": "LORA",
    "inference_mode": True, "r": 4, "lora_alpha": 8, "lora_dropout": 0.0, "target_modules": ["encoder.layer.0.query"],
    "use_rslora": False, "use_dora": False, "bias": "none", "fan_in_fan_out": False, "modules_to_save": ["classifier"],
    "init_lora_weights": True,
}  # fmt: skip


def fill(
    store: Store, name: str = "reviews", *, values: tuple[float, ...] = (0.7, 0.8, 0.9, 0.6), **fields: Any
) -> str:
    """A finished study: trials in Optuna and as runs, a baseline, a final comparison, an adapter."""
    space = parse_cell(CELL, {}).to_json()
    data = DataSpec(
        "/home/mei/secret/reviews.csv",
        path="/home/mei/secret/reviews.csv",
        text=("text",),
        target="label",
        checksum="c0",
    )
    given: dict[str, Any] = {"model": "/home/mei/models/tiny", "data": data, "space": space, "task": "classification"}
    given |= {"identity": "0123456789abcdef", "cell": f"%%autotune --data /home/mei/secret/reviews.csv\n{CELL}"}
    store.create_study(StudySpec(name=name, **{**given, **fields}))
    told = store.optuna_study(name, ["maximize"])
    for number, value in enumerate(values):
        trial, run = told.ask(), f"trial-{number:04d}"
        rate, rank = (
            trial.suggest_float("learning_rate", 1e-5, 1e-2, log=True),
            trial.suggest_categorical("rank", (2, 4, 8)),
        )
        config = {"learning_rate": rate, "rank": rank, "method": "lora"}
        trial.set_user_attr("config", config)
        trial.set_user_attr("proposed_by", "random start")
        store.start_run(
            name, run, RunRole.TRIAL, config=config, trial=number, proposed_by="random start", total_steps=8
        )
        trial.report(value / 2, 1)
        failed = number == 3
        if failed:
            because = "Could not read /home/mei/secret/reviews.csv on mei-laptop."
            store.end_run(name, run, TrialState.FAILED, because=because)
            told.tell(trial, state=optuna.trial.TrialState.FAIL)
        else:
            store.end_run(
                name, run, TrialState.COMPLETED, value=value, metrics={"accuracy": value, "train_seconds": 1.5}
            )
            told.tell(trial, value)
    store.start_run(name, "baseline", RunRole.BASELINE, config={"rank": 8})
    store.end_run(name, "baseline", TrialState.COMPLETED, value=0.65, metrics={"accuracy": 0.65})
    score = {"values": [0.85, 0.87, 0.86], "mean": 0.86, "low": 0.84, "high": 0.88}
    store.set_final(name, {
        "metric": "accuracy", "split": "test", "rows": 40, "seeds": [1, 2, 3], "winner": score, "baseline": score,
        "majority": 0.5, "difference": {"mean": 0.02, "low": -0.01, "high": 0.05, "p": 0.2},
    })  # fmt: skip
    store.set_provenance(name, {
        "models": {"tiny": {"name": "tiny", "checksum": CHECKSUM, "family": "encoder"}},
        "data": {"checksum": "c0", "splits": {"train": {"rows": 80, "source": "/home/mei/secret/reviews.csv"}}},
        "versions": {"python": "3.11", "torch": "2.6.0"}, "machine": {"system": "Linux", "device": "cpu"},
    })  # fmt: skip
    store.set_state(name, StudyState.FINISHED)
    store.add_note(name, "The third one generalises; see /home/mei/notes.txt", trial=2, author="Mei Lin")
    store.add_note(name, "", kind="star", trial=2, author="mei")
    adapter(store.run_dir(name, "trial-0002") / "adapter")
    return name


def large(store: Store, name: str, count: int) -> None:
    """A finished study of many trials, stored at once, as a long search leaves it."""
    space = parse_cell(CELL, {}).to_json()
    store.create_study(
        StudySpec(name=name, model="tiny", data=DataSpec("reviews.csv"), space=space, identity="fedcba9876543210")
    )
    store.optuna_storage()
    rate = optuna.distributions.FloatDistribution(1e-5, 1e-2, log=True)
    rank = optuna.distributions.CategoricalDistribution((2, 4, 8))
    trials = []
    for number in range(count):
        config = {"learning_rate": 1e-5 + 9e-3 * number / count, "rank": (2, 4, 8)[number % 3]}
        trials.append(
            optuna.trial.create_trial(
                value=0.5 + number / (2 * count), params=config, distributions={"learning_rate": rate, "rank": rank},
                user_attrs={"config": config, "proposed_by": "random start"},
                intermediate_values={rung: 0.1 * rung for rung in range(1, 5)},
            )
        )  # fmt: skip
    with store._write() as connection:
        insert_study(connection, name, ["maximize"], trials)
        connection.executemany(
            "INSERT INTO autoglm_runs (study, run, role, trial, state, config, value, started_at, ended_at) "
            "VALUES (?, ?, 'trial', ?, 'completed', ?, ?, 1, 2)",
            [(name, f"trial-{n:04d}", n, json.dumps(t.params), t.value) for n, t in enumerate(trials)],
        )
    store.set_state(name, StudyState.FINISHED)


def adapter(folder: Path) -> None:
    """A folder with the files of an adapter; its one tensor says which it is."""
    import numpy as np
    from safetensors.numpy import save_file

    folder.mkdir(parents=True)
    save_file({"base_model.model.a": np.arange(6, dtype=np.float32)}, folder / "adapter_model.safetensors")
    (folder / "autoglm.json").write_text(json.dumps(CARD))
    (folder / "adapter_config.json").write_text(json.dumps(PEFT))
    (folder / "tokenizer_config.json").write_text(json.dumps({"name_or_path": "/home/mei/models/tiny", "sep": "</s>"}))
    (folder / "tokenizer.json").write_text("{}")
    (folder / "leftover.pkl").write_bytes(b"\x80\x04.")


@pytest.fixture
def at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sharer's machine: an account and a host with names of their own."""
    monkeypatch.setattr("autoglm_nb.sharing.privacy.account", lambda: "mei")
    monkeypatch.setattr("autoglm_nb.sharing.privacy.socket.gethostname", lambda: "mei-laptop")
    monkeypatch.setattr("autoglm_nb.explain.privacy.getpass.getuser", lambda: "mei")


@pytest.fixture
def store(home: Path, at_home: None) -> Iterator[Store]:
    with Store(home) as opened:
        yield opened


@pytest.fixture
def study(store: Store) -> str:
    return fill(store)


@pytest.fixture
def shared(study: str, home: Path, tmp_path: Path) -> Path:
    """The study as a zip."""
    from autoglm_nb.sharing import share_zip

    return share_zip(home, study, tmp_path / "reviews.zip")


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A teammate's store, not made yet."""
    return tmp_path / "teammate" / ".autoglm"


Wait = Callable[[], None]


def later() -> None:
    """Let the clock go on, so that times differ."""
    time.sleep(0.02)
