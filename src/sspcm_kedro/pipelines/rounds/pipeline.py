"""The wiring of the rounds: one block, reused; only what passes between rounds has names of it."""

from kedro.pipeline import Node, Pipeline

from sspcm_kedro.pipelines.rounds.nodes import correction, cut_occlude, pseudo_labels, round_trainer

SHARED = ("seed", "view", "network", "method", "training", "monitor", "machine")
PEOPLE = {"labeled", "unlabeled", "validation", "skeleton"}


def _settings(*names: str) -> dict[str, str]:
    return {name: f"params:{name}" for name in names}


def round_block(number: int, earlier: str) -> Pipeline:
    """One period: pseudo-labels, their correction, occluders, training.

    Args:
        number: of the round, from 1.
        earlier: the name of the predictions of the period before.
    """
    return Pipeline(
        [
            Node(
                pseudo_labels,
                {"checkpoint": "previous", "unlabeled": "unlabeled", "skeleton": "skeleton",
                 **_settings("view", "network", "machine")},
                "predictions",
                name="pseudo_labels",
                tags=["labels", "gpu"],
            ),
            Node(
                correction,
                {"now": "predictions", "earlier": earlier, **_settings("view", "method")},
                ["corrected", "correction_report"],
                name="correction",
                tags="labels",
            ),
            Node(
                cut_occlude,
                {"corrected": "corrected", "unlabeled": "unlabeled", "skeleton": "skeleton",
                 **_settings("view", "method", "machine", "seed")},
                ["occluders", "occlusion_sheet"],
                name="cut_occlude",
                tags="labels",
            ),
            Node(
                round_trainer(number),
                {"previous": "previous", "resume": "resume", "predictions": "predictions",
                 "occluders": "occluders", **{name: name for name in sorted(PEOPLE)},
                 **_settings(*SHARED)},
                {"checkpoint": "checkpoint", "history": "history"},
                name="training",
                tags=["training", "gpu"],
            ),
        ]
    )  # fmt: skip


def create_pipeline(rounds: int) -> Pipeline:
    """The rounds, each in a namespace of its own.

    In round 1 there is no earlier period: it reads its own predictions twice, the four pairs
    coincide, and correction acts by the teachers' agreement alone. (The release does the same at
    the first step of each epoch, where its snapshots equal its teachers.) A method with one network
    agrees with itself there, and only its scores reject.
    """
    total = Pipeline([])
    for number in range(1, rounds + 1):
        name, before = f"round_{number}", f"round_{number - 1}" if number > 1 else "warmup"
        block = round_block(number, "earlier" if number > 1 else "predictions")
        total += Pipeline(
            block,
            namespace=name,
            inputs={
                "previous": f"{before}_checkpoint",
                "resume": f"resume_{name}",
                **({"earlier": f"{before}_predictions"} if number > 1 else {}),
                **{people: people for people in PEOPLE},
            },
            outputs={output: f"{name}_{output}" for output in sorted(block.all_outputs())},
            parameters={f"params:{key}" for key in SHARED},
        )
    return total
