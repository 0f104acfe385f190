"""Several sources as one, in the union of their keypoints."""

from collections.abc import Mapping, Sequence

from sspcm_kedro.data.instances import Instances
from sspcm_kedro.data.source import Source
from sspcm_kedro.pose.skeleton import UNION, Skeleton, trained_union, union_channels
from sspcm_kedro.sources.base import assemble, renumber


def unite(
    sources: Mapping[str, Source],
    labeled: Sequence[str],
    unlabeled: Sequence[str],
    validation: str | None,
) -> Source:
    """The people of all sources; the names are those of ``UnionSource``."""
    with_labels = [sources[name] for name in labeled]
    evaluated = sources[validation] if validation else with_labels[0]
    held_out = evaluated.validation
    if validation and held_out is None:
        held_out = evaluated.annotated
    skeleton = trained_union([source.skeleton for source in with_labels], evaluated.skeleton)
    truth = _join([
        *(_unlabeled_people(source) for source in with_labels),
        *(_all_people(sources[name]) for name in unlabeled),
    ])  # fmt: skip
    annotated = _join([_to_union(source, source.annotated) for source in with_labels])
    assert annotated is not None
    ignoring = with_labels if held_out is None else [evaluated]
    return assemble(
        skeleton,
        annotated,
        _to_union(evaluated, held_out),
        truth.without_labels() if truth else None,
        _with_trained_labels(truth, skeleton) if truth else None,
        _to_union(with_labels[0], with_labels[0].test),
        _join([_to_union(source, source.ignored) for source in ignoring]),
    )


def _to_union(source: Source, people: Instances | None) -> Instances | None:
    if people is None:
        return None
    return people.scatter(union_channels(source.skeleton), UNION.size)


def _unlabeled_people(source: Source) -> Instances | None:
    """The source's unlabeled people, with their hidden labels where it has those."""
    return _to_union(source, source.hidden_truth or source.unlabeled)


def _all_people(source: Source) -> Instances | None:
    return _join([_to_union(source, source.annotated), _unlabeled_people(source)])


def _join(parts: Sequence[Instances | None]) -> Instances | None:
    """All people, later parts renumbered where their ids are taken."""
    done: list[Instances] = []
    for part in parts:
        if part is not None:
            done.append(renumber(part, done) if done else part)
    return Instances.join(done) if done else None


def _with_trained_labels(people: Instances, skeleton: Skeleton) -> Instances | None:
    """The people with labels of trained channels only; None where nothing is known."""
    known = people.gather(skeleton.trained).scatter(skeleton.trained, UNION.size)
    return known if known.visibility.any() else None
