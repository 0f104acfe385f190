"""Settings: how a training is divided, and what is refused."""

import re

import pytest
import torch
from pydantic import ValidationError

from sspcm_kedro.data.views import ViewConfig
from sspcm_kedro.engine.evaluate import EvaluationConfig
from sspcm_kedro.engine.optimizer import TrainingConfig
from sspcm_kedro.errors import BadInput
from sspcm_kedro.machine import MachineConfig
from sspcm_kedro.nets import NetworkConfig


@pytest.mark.parametrize(("warmup", "each", "rounds"), [(1, 1, 1), (8, 8, 2), (3, 5, 4)])
def test_stages_divide_the_whole_training(warmup, each, rounds):
    """Every epoch belongs to one stage, in order."""
    training = TrainingConfig(warmup_epochs=warmup, round_epochs=each, rounds=rounds)
    spans = [training.span(stage) for stage in range(rounds + 1)]
    assert [epoch for span in spans for epoch in span] == list(range(training.epochs))
    assert [len(span) for span in spans] == [warmup] + [each] * rounds


@pytest.mark.parametrize(("rounds", "lengths"), [(1, [3, 7]), (2, [3, 2, 7]), (3, [3, 2, 2, 7])])
def test_the_last_round_may_be_of_another_length(rounds, lengths):
    training = TrainingConfig(
        warmup_epochs=3, round_epochs=2, last_round_epochs=7, rounds=rounds, steps=10
    )
    spans = [training.span(stage) for stage in range(rounds + 1)]
    assert [len(span) for span in spans] == lengths
    assert [epoch for span in spans for epoch in span] == list(range(training.epochs))
    assert training.schedule().steps == 10 * sum(lengths)
    assert training.finish_epochs(0.5) == 4


@pytest.mark.parametrize("hw", [(64, 0), (-64, 48)])
def test_views_have_a_size(hw):
    with pytest.raises(ValidationError, match="greater than or equal to 1"):
        ViewConfig(input_hw=hw)


@pytest.mark.parametrize(("hw", "near"), [((60, 48), (64, 48)), ((64, 40), (64, 32))])
def test_views_are_multiples_of_what_the_network_halves(hw, near):
    network = NetworkConfig.model_validate({"kind": "small_baseline"})
    message = rf"multiples of 16 for a small_baseline.*e.g. to {re.escape(str(list(near)))}"
    with pytest.raises(BadInput, match=message):
        ViewConfig(input_hw=hw).check(network)


@pytest.mark.parametrize(
    ("config", "wrong"),
    [
        (TrainingConfig, {"rounds": 0}),
        (TrainingConfig, {"batch": 1}),
        (TrainingConfig, {"learning_rate": 0}),
        (TrainingConfig, {"epochs": 3}),
        (EvaluationConfig, {"nms_threshold": 1.1}),
        (ViewConfig, {"refinement": "magic"}),
        (EvaluationConfig, {"protocol": "lsp"}),
        (ViewConfig, {"blur": 12}),
        (MachineConfig, {"workers": 0}),
        (ViewConfig, {"sigma": 0}),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(config, wrong):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        config(**wrong)


def test_settings_do_not_change():
    with pytest.raises(ValidationError, match="frozen"):
        TrainingConfig().steps = 3


def test_the_device_is_what_was_asked_for_or_what_there_is(monkeypatch):
    assert MachineConfig(device="cpu").pick() == torch.device("cpu")
    assert MachineConfig(device="cuda:1").pick() == torch.device("cuda:1")
    for there, name in ((True, "cuda"), (False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        assert MachineConfig().pick() == torch.device(name)


@pytest.mark.parametrize(("input_hw", "fits"), [((256, 192), True), ((64, 48), False)])
def test_an_input_that_a_resnet_cannot_halve_five_times_is_refused(input_hw, fits):
    view = ViewConfig(input_hw=input_hw)
    view.check(NetworkConfig.model_validate({"kind": "small_baseline"}))
    resnet = NetworkConfig.model_validate({"kind": "simple_baseline"})
    if fits:
        view.check(resnet)
    else:
        with pytest.raises(BadInput, match=r"\(64, 48\).* multiples of 32 for a simple_baseline"):
            view.check(resnet)


def test_every_network_of_a_mixed_run_must_fit():
    small, large = {"kind": "small_baseline"}, {"kind": "hrnet", "width": 8}
    view = ViewConfig(input_hw=(64, 48))
    for teacher, student in ((small, large), (large, small)):
        mixed = {"kind": "teacher_student", "teacher": teacher, "student": student}
        with pytest.raises(BadInput, match="multiples of 32 for a hrnet"):
            view.check(NetworkConfig.model_validate(mixed))


@pytest.mark.parametrize(("sigma", "kernel"), [(2, 11), (3, 17), (1, 5), (0.1, 3)])
def test_darks_kernel_fits_sigma_unless_it_is_given(sigma, kernel):
    """Published with the two sigmas of the paper's networks: 11 and 17."""
    assert ViewConfig(sigma=sigma).codec.kernel == kernel
    assert ViewConfig(blur=11, sigma=sigma).codec.kernel == 11
