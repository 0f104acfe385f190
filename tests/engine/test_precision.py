"""training.precision: what is rounded, what is not, and that it is part of the experiment."""

import pytest
import torch

from sspcm_kedro.engine.learner import Learner, network_maker
from sspcm_kedro.engine.optimizer import TrainingConfig
from sspcm_kedro.engine.precision import allow_tf32
from sspcm_kedro.engine.record import Stage, as_record
from sspcm_kedro.methods import MethodConfig
from sspcm_kedro.methods.base import total_loss
from sspcm_kedro.nets import NetworkConfig
from sspcm_kedro.pipelines.plan.cost import blank_batch
from sspcm_kedro.pose.heatmap import HeatmapCodec

CPU, CODEC = torch.device("cpu"), HeatmapCodec(sigma=1.0)
SMALL = {"kind": "small_baseline", "width": 16}


def learner(precision: str) -> Learner:
    maker = network_maker(NetworkConfig.model_validate(SMALL), 3, 0)
    training = TrainingConfig(precision=precision, average_decay=0.9)
    method = MethodConfig.model_validate({"kind": "sspcm", "min_score": 0.0})
    return Learner(method, maker, CODEC, training, CPU)


def losses(precision: str, steps: int) -> list[float]:
    torch.manual_seed(0)
    batch = blank_batch(4, 3, (32, 32), CODEC, unlabeled=True, stored=True, device=CPU)
    one, found, rng = learner(precision), [], torch.Generator().manual_seed(1)
    one.method.train()
    for _ in range(steps):
        one.optimizer.zero_grad()
        loss = total_loss(one.learn(batch, rng, 1))
        assert loss.dtype == torch.float32
        one.optimizer.step()
        found.append(loss.item())
    return found


def test_bf16_stays_beside_fp32():
    """Ten steps, in which the loss falls by half: at most 4 % of where it began lie between."""
    exact, rounded = losses("fp32", 10), losses("bf16", 10)
    assert rounded != exact
    assert rounded == pytest.approx(exact, abs=0.04 * exact[0])
    assert exact[-1] < 0.5 * exact[0]
    assert losses("tf32", 2) == exact[:2], "a CPU has no TF32"


@pytest.mark.parametrize(
    "config",
    [
        SMALL,
        {"kind": "simple_baseline", "backbone": "test_resnet", "head_width": 16},
        {"kind": "simple_baseline", "backbone": "test_resnet", "head_width": 16, "lateral": True},
        {"kind": "hrnet", "width": 8, "modules": [1, 1, 1], "blocks": 1},
    ],
)
def test_features_are_half_and_heatmaps_are_not(config):
    net = NetworkConfig.model_validate(config).build(3).eval()
    images, seen = torch.rand(1, 3, 64, 64), []
    net.last_layer.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    exact = net(images)
    with torch.autocast("cpu", torch.bfloat16):
        features = net.features(images)
    net.bf16 = True
    rounded = net(images)
    assert features.dtype == torch.bfloat16 and seen[1].dtype == torch.float32
    assert seen[1].equal(features.float()) and rounded.dtype == torch.float32
    assert net.last_layer.weight.shape[2:] == (1, 1) and len(exact[0]) == 3
    assert rounded.equal(net.last_layer(seen[1]))


def test_all_networks_and_averages_have_the_precision():
    for precision in ("fp32", "tf32", "bf16"):
        method = learner(precision).method
        nets = [*method.networks.values(), *method.averages.values()]
        assert {net.bf16 for net in nets} == {precision == "bf16"} and len(nets) == 6


def test_tf32_is_for_convolutions_alone_and_ends():
    matrices, convolutions = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matrices.allow_tf32, convolutions.allow_tf32
    for allowed in (True, False):
        with pytest.raises(KeyError), allow_tf32(allowed):
            assert (matrices.allow_tf32, convolutions.allow_tf32) == (False, allowed)
            raise KeyError
        assert (matrices.allow_tf32, convolutions.allow_tf32) == before


def test_records_of_before_are_of_fp32():
    """Another precision is another training; the usual one changes no fingerprint."""

    def read(**more) -> dict:
        training = TrainingConfig(**more)
        read = Stage.numbered(0).read_training(training, labels_only=True)
        return as_record({"training": read})

    assert "precision" not in read()["training"]
    assert read(precision="bf16")["training"]["precision"] == "bf16"
