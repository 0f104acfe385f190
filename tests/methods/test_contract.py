"""What every learning algorithm promises, for every method of the union and every network."""

import weakref
from dataclasses import replace
from typing import get_args

import pytest
import torch
from pydantic import ValidationError

from sspcm_kedro.augment.occlude import Donors
from sspcm_kedro.batch import Batch, Labeled, Unlabeled
from sspcm_kedro.engine.compiled import by_network, with_backward
from sspcm_kedro.methods import ComparisonConfig, MethodConfig
from sspcm_kedro.methods.base import LabelRules, freeze_statistics, total_loss
from sspcm_kedro.nets import ROLES, NetworkConfig
from sspcm_kedro.pose.heatmap import HeatmapCodec

H, W, K, B = 64, 32, 3, 2
METHODS = {
    "supervised": {"kind": "supervised"},
    "pseudo_pose": {"kind": "pseudo_pose", "affine": {"rotation": 20}},
    "data_distill": {"kind": "data_distill", "affine": {"rotation": 20}},
    "ubpl": {"kind": "ubpl", "min_score": 0.0},
    "scarce_net": {"kind": "scarce_net", "keep": 0.5, "max_distance": 0.001},
    "denoise_select": {"kind": "denoise_select", "min_score": 0.0},
    "multi_augs": {"kind": "multi_augs"},
    "multi_augs, dual": {"kind": "multi_augs", "dual": True, "paths": ["jccm", "jo"]},
    "teacher_reviewer": {"kind": "teacher_reviewer"},
    "pose_cons": {"kind": "pose_cons"},
    "pose_dual": {"kind": "pose_dual"},
    "sspcm": {"kind": "sspcm", "min_score": 0.0},
    "sspcm, bank": {"kind": "sspcm", "min_score": 0.0, "donors": "bank"},
    "many_view": {"kind": "many_view"},
    "many_view, bank": {"kind": "many_view", "donors": "bank"},
    "sspcm, snapshots": {"kind": "sspcm", "min_score": 0.0, "snapshot_every": 1},
}
FIRST = {"pseudo_pose": {"teacher_a"}, "data_distill": {"teacher_a"}}
"""Networks that learn from the labels of the warm-up, and are frozen where the others begin."""
STRONG_VIEWS = {"multi_augs": 4, "multi_augs, dual": 2, "many_view": 0, "many_view, bank": 0}
"""How many of a batch a step shows each network, unless it is one."""
NETWORKS = {
    "small_baseline": {"kind": "small_baseline", "width": 16},
    "simple_baseline": {"kind": "simple_baseline", "backbone": "resnet18"},
    "hrnet": {"kind": "hrnet", "width": 8, "modules": [1, 1, 1], "blocks": 1},
    "teacher_student": {
        "kind": "teacher_student",
        "teacher": {"kind": "small_baseline", "width": 32},
        "student": {"kind": "small_baseline", "width": 16},
    },
    "teachers that differ": {
        "kind": "teacher_student",
        "teacher": {"kind": "small_baseline", "width": 16},
        "teacher_b": {"kind": "small_baseline", "width": 32},
        "student": {"kind": "small_baseline", "width": 16},
    },
}


def kinds(config) -> set[str]:
    union = get_args(config.model_fields["root"].annotation)
    return {get_args(member.model_fields["kind"].annotation)[0] for member in union}


def build(method: str, network: str = "small_baseline", seed: int = 0):
    def make_net(i: int):
        torch.manual_seed(100 * seed + i)
        return NetworkConfig.model_validate(NETWORKS[network]).build(K, ROLES[i])

    config = MethodConfig.model_validate(METHODS[method])
    built = config.build(make_net, HeatmapCodec())
    if config.reads_averages:
        built.keep_averages(0.9)
    return built.train()


def later(method: str, built) -> list[str]:
    """The networks that a step with unlabeled people trains."""
    return [name for name in built.learners(last=False) if name not in FIRST.get(method, ())]


def make_batch(seed: int = 0) -> Batch:
    rng = torch.Generator().manual_seed(seed)

    def rand(*shape: int) -> torch.Tensor:
        return torch.rand(shape, generator=rng)

    maps = (B, K, H // 4, W // 4)
    points = rand(B, 1, 2) * torch.tensor([W, H])
    return Batch(
        Labeled(rand(B, 3, H, W), rand(*maps), torch.tensor([[1.0, 0, 1], [1, 1, 1]])),
        Unlabeled(
            rand(B, 3, H, W), torch.ones(B, K), (rand(*maps), rand(*maps)),
            Donors(rand(B, 3, H, W), points), (1, 0, 2), rand(*maps),
        ),
    )  # fmt: skip


def step(method, batch: Batch | None = None, seed: int = 3):
    return method.training_step(batch or make_batch(), torch.Generator().manual_seed(seed))


def in_setting(setting: str) -> Batch:
    """The batch as rounds give it, with all that they have stored, or as a training alone does."""
    batch = make_batch()
    if setting == "rounds":
        return batch
    return replace(
        batch, unlabeled=replace(batch.unlabeled, earlier=None, donors=None, corrected=None)
    )


def test_every_kind_of_the_unions_is_tested():
    assert kinds(MethodConfig) == {record["kind"] for record in METHODS.values()}
    assert kinds(NetworkConfig) == {record["kind"] for record in NETWORKS.values()}


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("method", METHODS)
class TestEveryMethodOnEveryNetwork:
    def test_losses_are_finite_scalars_and_reach_every_network(self, method, network):
        built = build(method, network)
        scalars = step(built)
        assert all(value.shape == () and value.isfinite() for value in scalars.values())
        assert "loss/supervised" in scalars
        assert ("loss/consistency" in scalars) == built.needs_unlabeled

        total_loss(scalars).backward()
        for name, net in built.networks.items():
            gradients = [p.grad for p in net.parameters()]
            if name not in later(method, built):
                assert all(g is None for g in gradients), name
                continue
            assert all(g is not None and g.isfinite().all() for g in gradients), name
            assert all(g.any() for g in gradients), name

    def test_only_the_networks_are_trained(self, method, network):
        """What else a method keeps, snapshots and averages, gets no gradient."""
        built = build(method, network)
        total_loss(step(built)).backward()
        own = {id(p) for p in built.networks.parameters()}
        others = [p for p in built.parameters() if id(p) not in own]
        assert bool(others) == ("snapshots" in method or len(built.averages) > 0)
        assert all(p.grad is None and not p.requires_grad for p in others)


@pytest.mark.parametrize("method", METHODS)
class TestEveryMethod:
    def test_the_generator_alone_decides(self, method):
        torch.manual_seed(1)
        first = step(build(method))
        torch.manual_seed(2)
        again = step(build(method))
        assert first.keys() == again.keys()
        assert all(first[name].equal(again[name]) for name in first)
        if build(method).needs_unlabeled:
            other = step(build(method), seed=4)
            assert not other["loss/consistency"].equal(first["loss/consistency"])

    @pytest.mark.parametrize("setting", ["rounds", "alone"])
    def test_a_step_in_rounds_and_alone(self, method, setting):
        """Alone there are no stored predictions; which methods need them, they say."""
        built = build(method)
        if setting == "alone" and {"earlier", "corrected"} & built.reads:
            with pytest.raises(ValidationError, match="no rounds, which store what it reads"):
                ComparisonConfig.model_validate(METHODS[method])
            with pytest.raises(ValueError, match=r"earlier|corrected"):
                step(built, in_setting(setting))
            return
        if setting == "alone":
            assert ComparisonConfig.model_validate(METHODS[method]).kind == METHODS[method]["kind"]
        total_loss(step(built, in_setting(setting))).backward()
        for name in later(method, built):
            assert all(p.grad is not None for p in built.networks[name].parameters()), name

    def test_what_it_does_not_read_changes_nothing(self, method):
        """Without the fields of ``Unlabeled`` that it does not name, the step is the same."""
        batch, built = make_batch(), build(method)
        idle = {"earlier", "donors", "corrected"} - built.reads
        unlabeled = replace(batch.unlabeled, **dict.fromkeys(idle)) if built.reads else None
        assert built.needs_unlabeled == (unlabeled is not None)
        first, second = step(build(method), batch), step(built, replace(batch, unlabeled=unlabeled))
        assert first.keys() == second.keys()
        assert all(first[name].equal(second[name]) for name in first)

    def test_what_it_reads_counts(self, method):
        """Another earlier period, or other donors, change the losses of who names them."""
        batch, other = make_batch(), make_batch(seed=1)
        for name in build(method).reads - {"images"}:
            field = {name: getattr(other.unlabeled, name)}
            changed = replace(batch, unlabeled=replace(batch.unlabeled, **field))
            first, second = step(build(method), batch), step(build(method), changed)
            assert not first["loss/consistency"].equal(second["loss/consistency"]), name

    def test_one_or_two_of_its_networks_label(self, method):
        built = build(method)
        assert len(set(built.labelers)) == len(built.labelers) and len(built.labelers) in (1, 2)
        assert set(built.labelers) <= set(built.networks)
        if len(built.labelers) == 2:
            assert built.labelers == ("teacher_a", "teacher_b")  # the order of tables and figures

    def test_state_is_all_there_is(self, method):
        """A method restored from ``state_dict`` goes on where the saved one stood."""
        saved = build(method, seed=0)
        optimizer = torch.optim.SGD([p for p in saved.parameters() if p.requires_grad], 0.1)
        total_loss(step(saved)).backward()
        optimizer.step()
        saved.after_step(1)

        restored = build(method, seed=1)
        assert not total_loss(step(restored)).equal(total_loss(step(build(method, seed=0))))
        restored.load_state_dict(saved.state_dict())
        first, second = step(saved, make_batch(1)), step(restored, make_batch(1))
        assert all(first[name].equal(second[name]) for name in first)

    def test_labeled_and_strong_views_move_the_running_statistics_and_readings_do_not(self, method):
        """One update a network for the labels, and one for each strong view; none for readings."""
        built = build(method)
        step(built)
        updates = 1 + STRONG_VIEWS.get(method, built.needs_unlabeled)
        trained = tuple(f"networks.{name}." for name in later(method, built))
        for name, buffer in built.named_buffers():
            if name.endswith("num_batches_tracked"):
                assert buffer == (updates if name.startswith(trained) else 0), name

    def test_a_batch_without_unlabeled_people_trains_on_the_labels_alone(self, method):
        built = build(method)
        scalars = step(built, Batch(make_batch().labeled))
        names = FIRST.get(method, built.learners(last=False))
        per_network = {f"{network}/loss/supervised" for network in names}
        assert scalars.keys() == {"loss/supervised", *per_network}

    def test_labels_alone_read_the_settings_that_it_says(self, method):
        """A change of any other one leaves a training on labels bit for bit as it was."""
        others = {
            "affine": {"rotation": 5}, "occlude": {"patches": 1}, "cutout": {"patches": 1},
            "views": {"scales": [0.5]}, "keep": 0.3, "max_distance": 0.5, "min_score": 0.7,
            "consistency_weight": 5.0, "paths": ["jc"], "patches": 1, "review_weight": 5.0,
            "max_inconsistency": 0.6, "weight": 3.0, "tolerance": 0.3, "sure": 0.9,
            "donors": "bank", "finish": 0.5,
        }  # fmt: skip

        def train(**changed: object) -> dict[str, torch.Tensor]:
            config = MethodConfig.model_validate({**METHODS[method], **changed})
            learner = config.build(maker, HeatmapCodec()).train()
            optimizer = torch.optim.SGD(learner.parameters(), 0.1)
            for number in range(1, 3):
                scalars = learner.training_step(Batch(make_batch().labeled), rng.manual_seed(0))
                total_loss(scalars).backward()
                optimizer.step()
                learner.after_step(number)
            return learner.state_dict()

        def maker(index: int) -> torch.nn.Module:
            torch.manual_seed(index)
            return NetworkConfig.model_validate(NETWORKS["small_baseline"]).build(K, ROLES[index])

        rng = torch.Generator()
        settings = MethodConfig.model_validate(METHODS[method]).root
        assert settings.labels_read is not None
        unread = set(type(settings).model_fields) - {"kind"} - settings.labels_read
        assert set(settings.read(labels_only=True)) == {"kind", *settings.labels_read}
        whole = settings.model_dump(mode="json")
        assert settings.read(labels_only=False) == whole
        before = settings.read(labels_only=False, last=False)
        assert before == {key: value for key, value in whole.items() if key != "finish"}
        reference = train()
        for name in unread:
            found = train(**{name: others[name]})
            assert all(torch.equal(found[key], value) for key, value in reference.items()), name

    def test_masked_keypoints_teach_nothing(self, method):
        """What the labeled heatmaps hold where the weight is 0 changes no loss."""
        batch = make_batch()
        heatmaps = batch.labeled.heatmaps.clone()
        heatmaps[0, 1] += 5
        changed = Labeled(batch.labeled.images, heatmaps, batch.labeled.weights)
        first, second = (
            step(build(method), batch),
            step(build(method), Batch(changed, batch.unlabeled)),
        )
        assert first["loss/supervised"].equal(second["loss/supervised"])

    def test_the_batch_is_left_as_it_is(self, method):
        batch, same = make_batch(), make_batch()
        total_loss(step(build(method), batch)).backward()
        assert batch.labeled.images.equal(same.labeled.images)
        assert batch.labeled.heatmaps.equal(same.labeled.heatmaps)
        assert batch.unlabeled.images.equal(same.unlabeled.images)
        assert all(a.equal(b) for a, b in zip(
            batch.unlabeled.earlier, same.unlabeled.earlier, strict=True))  # fmt: skip

    def test_each_network_has_the_name_of_its_place(self, method):
        """So a run may give teachers and students different networks."""
        asked = []

        def make_net(i: int) -> torch.nn.Module:
            asked.append(ROLES[i])
            return torch.nn.Identity()

        built = MethodConfig.model_validate(METHODS[method]).build(make_net, HeatmapCodec())
        assert list(built.networks) == asked

    def test_the_deployed_network_is_one_of_them(self, method):
        built = build(method)
        assert built.deployed in built.networks


def test_stored_labels_are_ruled_by_the_method_or_by_the_published_numbers():
    own = {"min_score": 0.3, "max_inconsistency": 0.2, "occlude": {"patches": 1, "jitter": 0.01}}
    rules = MethodConfig.model_validate({"kind": "sspcm", **own}).label_rules()
    assert (rules.min_score, rules.max_inconsistency) == (0.3, 0.2)
    assert (rules.occlude.patches, rules.occlude.jitter) == (1, 0.01)
    views = MethodConfig.model_validate({"kind": "many_view", "sure": 0.3}).label_rules()
    assert (views.held_out, views.tolerance, views.min_probability) == (0.15, 0.2, 0.3)
    assert views.views is not None
    for kind in kinds(MethodConfig) - {"many_view"}:
        found = MethodConfig.model_validate({"kind": kind}).label_rules()
        assert found == LabelRules(), kind
    assert (LabelRules().min_score, LabelRules().max_inconsistency) == (0.1, 0.1)
    assert LabelRules().occlude.patches == 2


def test_losses_are_summed_by_their_name():
    scalars = {"loss/a": torch.tensor(1.0), "student/loss/a": torch.tensor(2.0),
               "kept": torch.tensor(4.0), "loss/b": torch.tensor(8.0)}  # fmt: skip
    assert total_loss(scalars) == 9


def test_a_loss_of_several_networks_is_their_weighted_sum_and_each_is_watched():
    losses = build("pose_dual").losses(supervised=2.0, consistency=0.5)
    losses.add("teacher_a", consistency=torch.tensor(1.0, requires_grad=True))
    losses.add("teacher_b", consistency=torch.tensor(2.0, requires_grad=True))
    scalars = losses.scalars()
    assert list(scalars) == [
        "loss/consistency", "teacher_a/loss/consistency", "teacher_b/loss/consistency"
    ]  # fmt: skip
    assert scalars["loss/consistency"] == 1.5 and scalars["loss/consistency"].requires_grad
    assert scalars["teacher_a/loss/consistency"] == 1 and scalars["teacher_b/loss/consistency"] == 2
    assert not scalars["teacher_a/loss/consistency"].requires_grad


@pytest.mark.parametrize("method", METHODS)
def test_a_backward_pass_for_each_network_gives_the_gradients_of_one(method):
    """In the second of two shards, over the gradients of the first."""
    found = []
    for way in (with_backward, by_network):
        built = build(method)
        learn = way(built.training_step) if way is with_backward else way(built)
        for seed in (1, 2):
            scalars = learn(make_batch(seed), torch.Generator().manual_seed(seed), 2)
        found.append((scalars, {n: p.grad for n, p in built.named_parameters()}))
        assert built.backward is None
    (whole, wanted), (each, gradients) = found
    assert whole.keys() == each.keys()
    assert all(whole[name].equal(each[name]) for name in whole)
    assert not any(value.requires_grad for value in each.values())
    assert {n for n, g in wanted.items() if g is not None} == {
        n for n, g in gradients.items() if g is not None
    }
    for name, gradient in wanted.items():
        torch.testing.assert_close(gradients[name], gradient, rtol=1e-4, atol=1e-7)


class Live:
    """Bytes that autograd keeps at the moment, and the most that it kept."""

    def __init__(self) -> None:
        self.now, self.most = 0, 0

    def keep(self, tensor: torch.Tensor) -> torch.Tensor:
        alias = tensor.detach()
        size = alias.numel() * alias.element_size()
        self.now += size
        self.most = max(self.most, self.now)
        weakref.finalize(alias, self.free, size)
        return alias

    def free(self, size: int) -> None:
        self.now -= size


@pytest.mark.parametrize(
    ("method", "share"),
    [("sspcm", 0.2), ("pose_dual", 0.3), ("many_view", 0.55)],
)
def test_a_backward_pass_for_each_network_keeps_the_activations_of_one(method, share):
    """Of six passes, four and two."""
    most = []
    for way in (with_backward, by_network):
        built, live = build(method), Live()
        learn = way(built.training_step) if way is with_backward else way(built)
        with torch.autograd.graph.saved_tensors_hooks(live.keep, lambda tensor: tensor):
            learn(make_batch(), torch.Generator().manual_seed(3), 1)
        assert live.now == 0
        most.append(live.most)
    assert most[1] <= share * most[0]


def test_a_method_that_sums_its_losses_itself_is_gone_back_through(monkeypatch):
    built = build("supervised")
    weight = next(built.parameters())
    monkeypatch.setattr(built, "training_step", lambda *_: {"loss/own": 3 * weight.sum()})
    by_network(built)(make_batch(), torch.Generator(), 2)
    assert weight.grad is not None and (weight.grad == 1.5).all()


def test_a_network_has_one_loss_of_a_part():
    losses = build("pose_dual").losses(consistency=0.5)
    losses.add("teacher_a", consistency=torch.tensor(1.0))
    with pytest.raises(ValueError, match="teacher_a has a loss called consistency already"):
        losses.add("teacher_a", consistency=torch.tensor(2.0))


def test_networks_of_a_method_start_from_different_weights():
    built = build("sspcm")
    firsts = [next(net.parameters()) for net in built.networks.values()]
    assert not any(a.equal(b) for a, b in [firsts[:2], firsts[1:], firsts[::2]])


def test_freeze_statistics_uses_the_batch_and_records_nothing():
    net = NetworkConfig.model_validate(NETWORKS["small_baseline"]).build(K).train()
    images = make_batch().labeled.images * 3 + 1
    before = {name: value.clone() for name, value in net.named_buffers()}
    with torch.no_grad():
        with freeze_statistics(net):
            frozen = net(images)
        assert all(value.equal(before[name]) for name, value in net.named_buffers())
        assert net(images).equal(frozen)
    assert not any(value.equal(before[name]) for name, value in net.named_buffers()), (
        "afterwards they are recorded again"
    )


def test_freeze_statistics_ends_with_an_error_too():
    net = NetworkConfig.model_validate(NETWORKS["small_baseline"]).build(K)
    with pytest.raises(RuntimeError, match="inside"), freeze_statistics(net):
        raise RuntimeError("inside")
    norms = [m for m in net.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert norms and all(m.track_running_stats for m in norms)


@pytest.mark.parametrize(
    "record",
    [
        {"kind": "mean_teacher"},
        {},
        {"kind": "supervised", "weight": 1.0},
        {"kind": "sspcm", "min_score": 1.5},
        {"kind": "sspcm", "max_inconsistency": 0},
        {"kind": "sspcm", "snapshot_every": 0},
        {"kind": "pose_dual", "weight": 0},
        {"kind": "pose_cons", "cutout": {"patches": -1}},
        {"kind": "pose_cons", "affine": {"scale": 1.0}},
        {"kind": "pose_cons", "affine": {"shear": 1.0}},
        {"kind": "pose_dual", "affine": {"flip_probability": 0.5}},
        {"kind": "sspcm", "affine": {"flip_probability": 0.1}},
        {"kind": "pseudo_pose", "affine": {"flip_probability": 0.5}},
        {"kind": "data_distill", "views": {"scales": []}},
        {"kind": "data_distill", "views": {"scales": [0.0]}},
        {"kind": "data_distill", "views": {"rotations": [30, 30]}},
        {"kind": "multi_augs", "paths": []},
        {"kind": "multi_augs", "paths": ["jojo"]},
        {"kind": "ubpl", "min_score": 1.1},
        {"kind": "scarce_net", "keep": 0},
        {"kind": "scarce_net", "max_distance": 2},
        {"kind": "denoise_select", "views": {"mirrored": 2}},
        {"kind": "teacher_reviewer", "review_weight": 0},
    ],
)
def test_wrong_kinds_keys_and_numbers_are_refused(record):
    with pytest.raises(ValidationError):
        MethodConfig.model_validate(record)


def averaged(name: str, decay: float):
    method = build(name)
    method.keep_averages(decay)  # begins them anew
    return method.train()


def change_networks(method, seed: int) -> None:
    """Other numbers in every place of the networks that holds any, statistics included."""
    rng = torch.Generator().manual_seed(seed)
    for value in method.networks.state_dict().values():
        if value.is_floating_point():
            value.copy_(torch.rand(value.shape, generator=rng))
        else:
            value.add_(seed)


@pytest.mark.parametrize("name", METHODS)
def test_averages_follow_every_number_of_the_networks(name):
    """The oracle keeps the sums by hand: m <- d m + (1 - d) w, d at most (1 + n) / (10 + n). In
    the first stage all networks are averaged, but of ours the student, which waits."""
    method, decay = averaged(name, 0.4), 0.4
    waits = {"student"} if name.startswith("many_view") else set()
    wanted = {k: v.clone() for k, v in method.networks.state_dict().items()}
    for step in (1, 2, 3, 50):
        change_networks(method, step)
        method.after_step(step)
        kept = min(decay, (1 + step) / (10 + step))
        for key, value in method.networks.state_dict().items():
            if key.partition(".")[0] in waits:
                continue
            floating = value.is_floating_point()
            wanted[key] = kept * wanted[key] + (1 - kept) * value if floating else value.clone()
    assert 2 / 11 < 0.4 < 51 / 60  # both sides of the minimum have counted
    found = method.averages.state_dict()
    assert found.keys() == wanted.keys()
    for key, value in wanted.items():
        torch.testing.assert_close(found[key], value, msg=key)


@pytest.mark.parametrize(
    "name", [n for n, r in METHODS.items() if not MethodConfig.model_validate(r).reads_averages]
)
def test_averages_are_neither_trained_nor_read_by_a_step(name):
    plain, method = build(name), averaged(name, 0.9)
    losses = [
        m.training_step(make_batch(), torch.Generator().manual_seed(4)) for m in (plain, method)
    ]
    assert losses[0].keys() == losses[1].keys()
    assert all(losses[0][key].equal(losses[1][key]) for key in losses[0])
    assert not any(p.requires_grad for p in method.averages.parameters())
    assert not any(module.training for module in method.averages.modules())
    assert method.shipped is method.averages and plain.shipped is plain.networks
