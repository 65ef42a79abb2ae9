"""Default spaces and configurations: consistent, cited, within the rules."""

from __future__ import annotations

import pytest

from autoglm_nb.errors import SpaceError
from autoglm_nb.space import HYPERPARAMETERS, SOURCES, config_faults, default_config, default_space, parse_cell
from autoglm_nb.space.defaults import TASKS, default_space_source

CASES = [(task, decoder, rows) for task in TASKS for decoder in (False, True) for rows in (None, 10, 1500, 10**6)]


@pytest.mark.parametrize(("task", "decoder", "rows"), CASES)
def test_the_default_configuration_is_a_member_of_the_default_space(task: str, decoder: bool, rows: int | None) -> None:
    """Tuning can find the recipe again, so it can only gain."""
    space = default_space(task, rows=rows, decoder=decoder)
    config = default_config(task, rows=rows, decoder=decoder)
    assert space.validate(config) == config
    assert config_faults(config) == []


@pytest.mark.parametrize("task", TASKS)
def test_every_default_has_a_source(task: str) -> None:
    """No number without a reason."""
    assert set(SOURCES[task]) == set(default_config(task)) == set(default_space(task).names())
    assert all(len(text) > 20 for text in SOURCES[task].values())


def test_the_classification_recipe_is_pefts_example() -> None:
    """The figures of examples/sequence_classification/LoRA.ipynb in Hugging Face PEFT."""
    config = default_config("classification")
    assert (config["rank"], config["alpha"], config["dropout"]) == (8, 16, 0.1)
    assert (config["learning_rate"], config["batch_size"], config["warmup_ratio"]) == (3e-4, 32, 0.06)


def test_the_language_model_recipe_is_trls_example() -> None:
    """The figures of trl/scripts/sft.py (LoRA) in Hugging Face TRL; 2 x 8 examples a step."""
    config = default_config("causal-lm")
    assert (config["rank"], config["alpha"], config["learning_rate"], config["batch_size"]) == (32, 16, 2e-4, 16)


def test_more_rows_never_mean_more_epochs() -> None:
    """The budget of one trial stays within reach."""
    for task in TASKS:
        epochs = [default_config(task, rows=rows)["epochs"] for rows in (1, 500, 1000, 2000, 5000, 10**5)]
        assert epochs == sorted(epochs, reverse=True) and epochs[-1] == 1


def test_the_source_can_be_pasted_into_a_cell() -> None:
    """What is shown is what is used."""
    for task in TASKS:
        assert parse_cell(default_space_source(task)) == default_space(task)


def test_an_unknown_task_gets_a_hint() -> None:
    """A slip of the pen is named."""
    with pytest.raises(SpaceError, match="Did you mean 'classification'"):
        default_space("clasification")


def test_every_hyperparameter_has_a_description() -> None:
    """The list doubles as documentation."""
    assert all(h.doc.endswith(".") and h.rule for h in HYPERPARAMETERS.values())
    documented = (
        "model method learning_rate rank alpha dropout target_modules optimizer schedule warmup_ratio "
        "weight_decay max_grad_norm batch_size epochs steps seed adapter_width prompt_length top_k"
    )
    assert set(documented.split()) <= set(HYPERPARAMETERS)


def test_config_faults_lists_all() -> None:
    """Each value against its own rule, unknown names, and the two lengths of a trial."""
    found = config_faults({"rank": 0, "dropout": 1, "rnak": 3, "epochs": 1, "steps": 10, "target_modules": ["q"]})
    assert len(found) == 4
    assert config_faults({"x": 1}, strict_names=False) == []
