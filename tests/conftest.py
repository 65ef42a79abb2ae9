"""Fixtures for every room: tiny models, a small data set, and a home of its own per test.

No test asks the model hub, and none sees the user's studies. Tiny models are computed with
one thread: two that wait for each other at every small product are slower, on a busy
machine ten times. Tests of real models have all threads. Examples of property tests have
no time limit of their own.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import hypothesis
import pytest

from tests import tiny, turns

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a shell's background, where interrupts are tested too
    signal.signal(signal.SIGINT, signal.default_int_handler)
os.environ.setdefault("OMP_NUM_THREADS", "1")  # torch reads it when it is imported, here and in child processes
hypothesis.settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any machine")


@pytest.hookimpl(wrapper=True, tryfirst=True)  # outside the time limit of the test
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """In one of several processes a test waits for its turn."""
    if not hasattr(item.config, "workerinput"):
        return (yield)
    with turns.turn(alone=any(item.get_closest_marker(name) for name in turns.ALONE)):
        return (yield)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty `.autoglm` for this test, also the one that `settings.home()` gives."""
    folder = tmp_path / ".autoglm"
    monkeypatch.setenv("AUTOGLM_HOME", str(folder))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "jupyter-runtime"))
    yield folder
    executors = sys.modules.get("autoglm_nb.tuning.executors")
    if executors is not None:  # what a test left under way would slow down the next ones, and the end of all
        executors.end_threads()


@pytest.fixture(autouse=True)
def threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One thread for the workers of tiny models too; all of them for real models, here and in child processes."""
    if request.node.get_closest_marker("real") is None:
        monkeypatch.setenv("AUTOGLM_THREADS", "1")
        yield
        return
    import torch

    from autoglm_nb.training.threads import available_cores

    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    before = torch.get_num_threads()
    torch.set_num_threads(available_cores())
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tiny_encoder_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a random two-layer BERT with a WordPiece tokenizer."""
    return tiny.tiny_encoder(tmp_path_factory.mktemp("tiny-encoder"))


@pytest.fixture(scope="session")
def tiny_decoder_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a random two-layer Llama with a BPE tokenizer whose pad token is its end token."""
    return tiny.tiny_decoder(tmp_path_factory.mktemp("tiny-decoder"))


@pytest.fixture(scope="session")
def reviews_csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CSV of 120 learnable reviews with the columns text and label."""
    path = tmp_path_factory.mktemp("reviews") / "reviews.csv"
    tiny.toy_reviews(120).to_csv(path, index=False)
    return path
