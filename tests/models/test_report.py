"""What the kernel may know of a model: quickly, without torch, and in clear words."""

from __future__ import annotations

import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from autoglm_nb.errors import ModelError
from autoglm_nb.models import CATALOGUE, check
from autoglm_nb.models.catalogue import canonical_name


@pytest.mark.parametrize(
    ("name", "family", "hidden", "layers", "key_value"),
    [("minilm", "encoder", 384, 6, 384), ("smollm2-135m", "decoder", 576, 30, 192), ("MiniLM", "encoder", 384, 6, 384)],
)
def test_a_catalogue_model_is_known_before_it_is_fetched(
    name: str, family: str, hidden: int, layers: int, key_value: int
) -> None:
    report = check(name)
    assert (report.family, report.hidden_size, report.layers, report.key_value_size) == (
        family,
        hidden,
        layers,
        key_value,
    )
    assert not report.local
    assert report.download_mb and report.download_mb > 50


def test_checking_imports_nothing_heavy_and_is_quick() -> None:
    """The quickest of three counts, so that a busy machine does not decide."""
    code = (
        "import json, sys, time; t = time.time(); from autoglm_nb.models import check;"
        "check('minilm'); check('smollm2-135m');"
        "heavy = {'torch', 'transformers', 'pandas', 'numpy', 'peft'} & set(sys.modules);"
        "print(json.dumps([sorted(heavy), time.time() - t]))"
    )
    command, environment, runs = [sys.executable, "-c", code], {**os.environ, "PYTHONPATH": "."}, []
    for _ in range(3):
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        runs.append(json.loads(done.stdout.split("\n")[0]))
    assert [heavy for heavy, _ in runs] == [[]] * 3
    assert min(seconds for _, seconds in runs) < 2.0


def test_a_local_folder_is_read_from_its_config(tiny_encoder_path: Path, tiny_decoder_path: Path) -> None:
    encoder, decoder = check(str(tiny_encoder_path)), check(str(tiny_decoder_path))
    assert (encoder.family, encoder.hidden_size, encoder.layers, encoder.local) == ("encoder", 32, 2, True)
    assert (decoder.family, decoder.key_value_size, decoder.download_mb) == ("decoder", 16, 0)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("sentence-transformers/all-MiniLM-L6-v2", "minilm"),
        ("SmolLM2-135M-Instruct", "smollm2-135m"),
        ("llama-3-8b", "meta-llama/Meta-Llama-3-8B"),
        ("own/model", "own/model"),
    ],
)
def test_other_spellings_of_a_model_give_one_name(given: str, meant: str) -> None:
    assert canonical_name(given) == meant


def test_an_unknown_name_is_refused_with_the_closest_one() -> None:
    said = r"must be a catalogue name \(.*\), .* but got 'minilmm'\. Did you mean 'minilm'"
    with pytest.raises(ModelError, match=said):
        check("minilmm")


@pytest.mark.parametrize("name", ["", "  ", None, 3])
def test_something_that_is_no_name_is_refused(name: object) -> None:
    with pytest.raises(ModelError, match=r"`model` must be a name"):
        check(name)  # type: ignore[arg-type]


def test_a_hub_id_without_a_hub_says_what_to_do() -> None:
    with pytest.raises(ModelError, match=r"'some/model' is not here and no hub answers. Choose one of"):
        check("some/model")
    with pytest.raises(ModelError, match=r"'llama-3-8b' \(hub id meta-llama/Meta-Llama-3-8B\) is not here"):
        check("llama-3-8b")


def test_a_missing_folder_is_called_a_folder() -> None:
    with pytest.raises(ModelError, match=r"must be a folder .* './nowhere' does not exist"):
        check("./nowhere")


def test_pickled_weights_are_refused_with_the_remedy(tiny_encoder_path: Path, tmp_path: Path) -> None:
    folder = tmp_path / "old"
    folder.mkdir()
    shutil.copy(tiny_encoder_path / "config.json", folder)
    with pytest.raises(ModelError, match=r"has no weights"):
        check(str(folder))
    (folder / "pytorch_model.bin").write_bytes(b"anything")
    with pytest.raises(ModelError, match=r"must be safetensors, .* only pytorch_model\.bin, a pickle .*save_pret"):
        check(str(folder))


def test_an_adapter_is_not_a_base(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(ModelError, match=r"must be a base model, but .* is a saved adapter"):
        check(str(tmp_path))


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"is_encoder_decoder": True}, "is both"),
        ({"model_type": "vit_odd"}, "must state its width and depth"),
        ([], "must be a JSON object"),
        (None, "must be readable JSON"),
    ],
)
def test_a_config_that_cannot_be_used_is_named(
    tiny_encoder_path: Path, tmp_path: Path, config: object, sentence: str
) -> None:
    folder = tmp_path / "odd"
    folder.mkdir()
    shutil.copy(tiny_encoder_path / "model.safetensors", folder)
    (folder / "config.json").write_text("{" if config is None else json.dumps(config))
    with pytest.raises(ModelError, match=sentence):
        check(str(folder))


def test_the_hub_librarys_cache_is_used_without_a_hub(tiny_encoder_path: Path, tmp_path: Path) -> None:
    repo = tmp_path / "hub" / "models--own--model"
    shutil.copytree(tiny_encoder_path, repo / "snapshots" / "abc123")
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text("abc123")
    assert check("own/model").local
    entry = CATALOGUE["minilm"]
    shutil.copytree(
        tiny_encoder_path,
        tmp_path / "hub" / f"models--{entry.hub_id.replace('/', '--')}" / "snapshots" / entry.revision,
    )
    assert check("minilm").local


@pytest.mark.alone
def test_a_hub_id_is_asked_for_its_config_and_nothing_else(
    tiny_decoder_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = (tiny_decoder_path / "config.json").read_bytes()
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(200)
            self.end_headers()

        def do_GET(self) -> None:
            asked.append(self.path)
            status = 200 if self.path.startswith("/own/model/") else 401 if "gated" in self.path else 404
            self.send_response(status)
            self.end_headers()
            self.wfile.write(config if status == 200 else b"")

        def log_message(self, *_: object) -> None:
            pass

    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{httpd.server_port}")
    try:
        start = time.monotonic()
        report = check("own/model")
        assert time.monotonic() - start < 2.0
        assert (report.family, report.layers, report.local, report.download_mb) == ("decoder", 2, False, None)
        assert asked == ["/own/model/resolve/main/config.json"]
        with pytest.raises(ModelError, match=r"refused \(HTTP 401\).*HF_TOKEN"):
            check("own/gated")
        with pytest.raises(ModelError, match=r"but got 'own/missing'"):
            check("own/missing")
    finally:
        httpd.shutdown()
        httpd.server_close()
