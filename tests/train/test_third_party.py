"""Policies of third parties and pretrained policies, with LeRobot's own discovery of plug-ins."""

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from lerobot_server import Preloaded

from waldo.cli.main import main
from waldo.errors import FileError, InvalidValueError, UnknownNameError, UnsupportedOptionError
from waldo.train.policies.choice import choose_policy
from waldo.train.policies.names import check_policy, plugin_names, plugin_packages
from waldo.train.train_config import TrainConfig, plan_training

SOURCE = Path(__file__).parents[1] / "plugins" / "lerobot_policy_toy"


def install(folder: Path, package: str = "lerobot_policy_toy") -> Path:
    """Install the toy plug-in into a folder for the module search path, as a distribution of the same name."""
    shutil.copytree(SOURCE, folder / package)
    (folder / package / "__init__.py").write_text("from . import configuration_toy as configuration_toy\n")
    metadata = folder / f"{package}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    return folder


@pytest.fixture(scope="module")
def plugins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install(tmp_path_factory.mktemp("plugins"))


def waldo(*words: str | Path, plugins: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `waldo` with plug-ins."""
    command = [sys.executable, "-m", "waldo", *map(str, words)]
    path = os.pathsep.join(filter(None, (str(plugins), os.environ.get("PYTHONPATH"))))
    return subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path, **environment}
    )


@pytest.fixture
def train_here(
    preloaded_lerobot: Preloaded, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """Return a function that runs `waldo train` with plug-ins in this process and returns its code and messages."""

    def run(*words: str | Path, plugins: Path) -> tuple[int, str]:
        monkeypatch.setenv("PYTHONPATH", str(plugins))
        monkeypatch.syspath_prepend(str(plugins))
        code = main(["train", *map(str, words)])
        return code, capsys.readouterr().err

    return run


def error_of(done: subprocess.CompletedProcess[str]) -> str:
    """Return the only line of a command that was refused."""
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    return line.removeprefix("waldo: error: ")


@pytest.fixture(scope="module")
def toy(
    plugins: Path, lerobot_dataset: Path, preloaded_lerobot: Preloaded, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The output folder of a short training of the plug-in's policy."""
    output = tmp_path_factory.mktemp("toy") / "run"
    words = ["train", lerobot_dataset, "--policy", "toy", "--steps", "2", "--threads", "1", "--output", output]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(plugins))
        patch.syspath_prepend(str(plugins))
        assert main([*map(str, words), "--", "--policy.width=4", "--batch_size=4"]) == 0
    return output


def test_a_policy_of_a_plug_in_is_trained_with_its_own_configuration(toy: Path) -> None:
    config = json.loads((toy / "checkpoints/last/pretrained_model/config.json").read_text())
    assert (config["type"], config["width"], config["chunk_size"]) == ("toy", 4, 4)
    train = json.loads((toy / "checkpoints/last/pretrained_model/train_config.json").read_text())
    assert train["optimizer"]["lr"] == 1e-3
    assert train["optimizer"]["type"] == "adam", "the small preset has adamw"
    assert train["scheduler"] is None


def test_a_policy_of_a_plug_in_is_resumed_and_evaluated(
    toy: Path,
    plugins: Path,
    lerobot_dataset: Path,
    train_here: Callable[..., tuple[int, str]],
    preloaded_lerobot: Preloaded,
) -> None:
    words = [lerobot_dataset, "--policy", "toy", "--steps", "3", "--threads", "1", "--output", toy]
    code, messages = train_here(*words, "--resume", plugins=plugins)
    assert code == 0, messages
    assert "training toy (lerobot preset)" in messages
    options = ("--episodes", "1", "--threads", "1", "--horizon", "0.5", "--json")
    code, output = preloaded_lerobot.waldo("eval", toy, *options, PYTHONPATH=str(plugins))
    assert code == 0, output
    assert json.loads(output[output.index("{") :])["policy"] == "run"


def test_a_checkpoint_folder_is_continued_from(
    toy: Path, plugins: Path, lerobot_dataset: Path, tmp_path: Path, train_here: Callable[..., tuple[int, str]]
) -> None:
    words = [lerobot_dataset, "--policy", toy, "--steps", "1", "--threads", "1", "--output", tmp_path / "run"]
    code, messages = train_here(*words, "--", "--batch_size=4", plugins=plugins)
    assert code == 0, messages
    assert f"training toy (pretrained: {toy.resolve()}/checkpoints/" in messages
    config = json.loads((tmp_path / "run/checkpoints/last/pretrained_model/config.json").read_text())
    assert config["width"] == 4, "the pretrained policy's own"


def test_a_plug_in_that_cannot_be_imported_is_named(tmp_path: Path, lerobot_dataset: Path) -> None:
    folder = install(tmp_path, "lerobot_policy_broken")
    (folder / "lerobot_policy_broken" / "__init__.py").write_text("import no_such_module")
    for file in folder.glob("lerobot_policy_broken/*_toy.py"):
        file.unlink()
    line = error_of(waldo("train", lerobot_dataset, "--policy", "toy", plugins=folder))
    reason = "ModuleNotFoundError: No module named 'no_such_module'"
    expected = f"lerobot_policy_broken: cannot be imported ({reason}); fix it if it has the policy 'toy'"
    assert line == expected


def test_a_plug_in_that_fails_in_training_is_named(
    tmp_path: Path, lerobot_dataset: Path, train_here: Callable[..., tuple[int, str]]
) -> None:
    folder = install(tmp_path)
    with (folder / "lerobot_policy_toy" / "__init__.py").open("a") as file:
        file.write("import no_such_module")
    code, messages = train_here(lerobot_dataset, "--policy", "toy", "--output", tmp_path / "run", plugins=folder)
    assert code == 3
    assert "the plug-in lerobot_policy_toy cannot be imported; see the log: " in messages.splitlines()[-1]


def test_names_are_read_from_the_source_of_plug_ins(plugins: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert plugin_packages() == ("lerobot_policy_keypoint_vla",)
    monkeypatch.syspath_prepend(str(plugins))
    assert plugin_packages() == ("lerobot_policy_keypoint_vla", "lerobot_policy_toy")
    assert plugin_names("lerobot_policy_toy") == ("toy",)
    assert "lerobot_policy_toy" not in sys.modules
    check_policy("toy")
    assert choose_policy("act", ["--policy.type=toy"]).type == "toy"


def test_a_name_that_the_source_does_not_contain_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = install(tmp_path)
    file = folder / "lerobot_policy_toy" / "configuration_toy.py"
    file.write_text(file.read_text().replace('register_subclass("toy")', "register_subclass(NAME)"))
    file.write_text("NAME = 't' + 'oy'\n" + file.read_text().replace('"""Options of the toy policy."""', ""))
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.syspath_prepend(str(folder))
    assert plugin_names("lerobot_policy_toy") == ()
    with pytest.raises(UnknownNameError, match="did you mean 'toy'"):
        check_policy("toyy")


FEATURES = {
    "observation.state": {"dtype": "float32", "shape": [6]},
    "observation.environment_state": {"dtype": "float32", "shape": [8]},
    "observation.images.front": {"dtype": "video", "shape": [48, 64, 3]},
    "action": {"dtype": "float32", "shape": [6]},
}


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    (tmp_path / "data" / "meta").mkdir(parents=True)
    info = {"codebase_version": "v3.0", "fps": 30, "features": FEATURES}
    (tmp_path / "data" / "meta" / "info.json").write_text(json.dumps(info))
    return tmp_path / "data"


def pretrained(folder: Path, kind: str, **inputs: str) -> Path:
    folder.mkdir()
    features = {f"observation.{key.replace('_', '.')}": {"type": value, "shape": [6]} for key, value in inputs.items()}
    (folder / "config.json").write_text(json.dumps({"type": kind, "input_features": features}))
    return folder


SMALL = ("dim_model", "optimizer", "scheduler", "use_policy_training_preset", "normalization", "input_features")


@pytest.mark.parametrize("as_option", [False, True])
@pytest.mark.parametrize("kind", ["act", "smolvla"])
def test_the_small_preset_does_not_reach_a_pretrained_policy(
    dataset: Path, tmp_path: Path, kind: str, as_option: bool
) -> None:
    folder = pretrained(tmp_path / "policy", kind, state="STATE", images_front="VISUAL")
    options = (f"--policy.path={folder}",) if as_option else ()
    config = TrainConfig(
        dataset=dataset,
        output=tmp_path / "o",
        device="cpu",
        policy="act" if as_option else str(folder),
        options=options,
    )
    plan = plan_training(config)
    assert (plan.preset, plan.inputs, plan.policy.type) == ("lerobot", "images", kind)
    assert f"--policy.path={folder.resolve()}" in plan.arguments
    assert not [a for a in plan.arguments if any(word in a for word in (*SMALL, "policy.type"))]


def test_the_small_preset_does_not_reach_a_type_among_the_options(dataset: Path, tmp_path: Path) -> None:
    options = ("--policy.type=diffusion",)
    plan = plan_training(TrainConfig(dataset=dataset, output=tmp_path / "o", device="cpu", options=options))
    assert (plan.preset, plan.policy.type) == ("lerobot", "diffusion")
    assert not [a for a in plan.arguments if any(word in a for word in SMALL[:-1])]
    assert [a for a in plan.arguments if a.startswith("--policy.type")] == ["--policy.type=diffusion"]


def test_the_small_preset_is_refused_for_a_pretrained_policy(dataset: Path, tmp_path: Path) -> None:
    folder = pretrained(tmp_path / "policy", "act", state="STATE")
    config = TrainConfig(dataset=dataset, output=tmp_path / "o", policy=str(folder), preset="small")
    with pytest.raises(UnsupportedOptionError) as caught:
        plan_training(config)
    assert (
        str(caught.value) == "--preset small is not supported with a pretrained policy (supported: act, keypoint_vla)"
    )


def test_inputs_that_the_dataset_lacks_are_named_unless_they_are_renamed(dataset: Path, tmp_path: Path) -> None:
    folder = pretrained(tmp_path / "policy", "smolvla", state="STATE", images_top="VISUAL")
    config = {"dataset": dataset, "output": tmp_path / "o", "policy": str(folder)}
    with pytest.raises(InvalidValueError) as caught:
        plan_training(TrainConfig(**config))
    found = "'observation.environment_state, observation.images.front, observation.state'"
    assert str(caught.value) == (
        f"the dataset, for the pretrained policy {folder}, is {found}, expected observation.images.top as well; "
        """rename inputs with: -- --rename_map='{"FROM": "TO"}'"""
    )
    rename = '--rename_map={"observation.images.front": "observation.images.top"}'
    assert rename in plan_training(TrainConfig(**config, options=(rename,))).arguments


def test_a_hub_name_is_looked_up_in_the_cache_without_a_network(tmp_path: Path, lerobot_dataset: Path) -> None:
    plugins = tmp_path / "none"
    home = {"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    line = error_of(waldo("train", lerobot_dataset, "--policy", "someone/policy", plugins=plugins, **home))
    assert line == (
        "someone/policy: no such folder, and not in the cache of the hub; training is offline by default; "
        "set HF_HUB_OFFLINE=0 to download it, or pass a checkpoint folder"
    )
    snapshot = tmp_path / "hub" / "models--someone--policy" / "snapshots" / "0123456789abcdef"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text(json.dumps({"type": "nosuch"}))
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text(snapshot.name)
    line = error_of(waldo("train", lerobot_dataset, "--policy", "someone/policy", plugins=plugins, **home))
    assert line.startswith("unknown policy 'nosuch' (known: act, ")


def test_a_name_that_the_hub_does_not_know_is_refused(tmp_path: Path, lerobot_dataset: Path) -> None:
    class Hub(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        endpoint = f"http://127.0.0.1:{server.server_port}"
        home = {"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "0", "HF_ENDPOINT": endpoint}
        done = waldo("train", lerobot_dataset, "--policy", "someone/other", plugins=tmp_path, **home)
        server.shutdown()
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("waldo: error: someone/other: cannot be downloaded (")


def test_a_folder_that_is_not_a_policy_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(FileError) as caught:
        choose_policy(str(tmp_path), [])
    assert str(caught.value) == (
        f"{tmp_path}: is not a LeRobot policy (config.json: KeyError('type')); pass another one"
    )


@pytest.mark.parametrize(
    ("policy", "options", "advice"),
    [
        (
            "act",
            ["--preset", "lerobot"],
            "train the image backbone from scratch: -- --policy.pretrained_backbone_weights=null",
        ),
        (
            "smolvla",
            [],
            "set HF_HUB_OFFLINE=0 to download it, or pass a local folder: -- --policy.vlm_model_name=FOLDER",
        ),
        ("pi0", [], "set HF_HUB_OFFLINE=0 to download it"),
    ],
)
def test_a_model_that_would_be_downloaded_has_a_remedy(
    store: Path,
    tmp_path: Path,
    preloaded_lerobot: Preloaded,
    train_here: Callable[..., tuple[int, str]],
    monkeypatch: pytest.MonkeyPatch,
    policy: str,
    options: list[str],
    advice: str,
) -> None:
    for name, value in {"HF_HOME": preloaded_lerobot.home, "TORCH_HOME": tmp_path, "HF_HUB_OFFLINE": "1"}.items():
        monkeypatch.setenv(name, str(value))
    for name in ("http_proxy", "https_proxy", "HTTPS_PROXY", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    words = [store, "--policy", policy, "--inputs", "images", "--steps", "1", "--output", tmp_path / "run"]
    code, messages = train_here(*words, *options, plugins=tmp_path)
    assert code == 3
    message, _, log = messages.splitlines()[-1].rpartition("; see the log: ")
    assert message.endswith(advice)
    if policy == "pi0":
        # Its tokenizer is looked for before billions of weights are initialized.
        assert "Creating policy" not in Path(log).read_text()
