"""The wiring of the rounds: one block, reused; only what passes between rounds has names of it."""

from kedro.pipeline import Node, Pipeline

from sspcm_kedro.pipelines import by_name, crop_cache
from sspcm_kedro.pipelines.rounds.nodes import correction, cut_occlude, pseudo_labels, round_trainer

PEOPLE = ("labeled", "unlabeled", "validation", "skeleton")
SETTINGS = (
    "params:seed", "params:view", "params:network", "params:method", "params:training",
    "params:monitor", "params:machine",
)  # fmt: skip


def round_block(number: int, earlier: str, cached: bool) -> Pipeline:
    """One period: pseudo-labels, their correction, occluders, training.

    Args:
        number: of the round, from 1.
        earlier: the name of the predictions of the period before.
        cached: whether crops are stored.
    """
    shown = by_name("unlabeled", "skeleton", "params:view", "params:machine")
    method = by_name("unlabeled", "skeleton", "params:view", "params:method")
    stored = by_name(*crop_cache(cached))
    made = by_name("predictions", "corrected", "occluders")
    trained = by_name("previous", "resume", *PEOPLE, *SETTINGS) | made | stored
    looks = by_name("labeled", "params:network", "params:seed", checkpoint="previous",
                    resume="resume_predictions")  # fmt: skip
    return Pipeline([
        Node(pseudo_labels, shown | method | looks | stored,
             "predictions", name="pseudo_labels", tags=["labels", "gpu"]),
        Node(correction,
             {**method, **by_name("labeled"), "now": "predictions", "earlier": earlier},
             ["corrected", "correction_report"], name="correction", tags="labels"),
        Node(cut_occlude, shown | method | by_name("corrected", "params:seed"),
             ["occluders", "occlusion_sheet"], name="cut_occlude", tags="labels"),
        Node(round_trainer(number), trained, by_name("checkpoint", "history"),
             name="training", tags=["training", "gpu"]),
    ])  # fmt: skip


def create_pipeline(rounds: int, cached: bool = False) -> Pipeline:
    """The rounds, each in a namespace of its own.

    In round 1 there is no earlier period: it reads its own predictions twice, the four pairs
    coincide, and correction acts by the teachers' agreement alone. (The release does the same at
    the first step of each epoch, where its snapshots equal its teachers.) A method with one network
    agrees with itself there, and only its scores reject. Crops are stored if ``cached``.
    """
    total = Pipeline([])
    for number in range(1, rounds + 1):
        name, before = f"round_{number}", f"round_{number - 1}" if number > 1 else "warmup"
        block = round_block(number, "earlier" if number > 1 else "predictions", cached)
        earlier = {"earlier": f"{before}_predictions"} if number > 1 else {}
        total += Pipeline(
            block,
            namespace=name,
            inputs=by_name(
                *PEOPLE,
                *crop_cache(cached),
                previous=f"{before}_checkpoint",
                resume=f"resume_{name}",
                resume_predictions=f"resume_{name}_predictions",
                **earlier,
            ),
            outputs={output: f"{name}_{output}" for output in sorted(block.all_outputs())},
            parameters=set(SETTINGS),
        )
    return total
