"""The finished student, from the one file that a run leaves of it."""

import json
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sspcm_kedro.data.crops import Crops
from sspcm_kedro.data.views import ViewConfig
from sspcm_kedro.engine.evaluate import EvaluationConfig
from sspcm_kedro.engine.learner import State, networks_of
from sspcm_kedro.engine.predict import predict
from sspcm_kedro.errors import BadInput
from sspcm_kedro.nets import NetworkConfig
from sspcm_kedro.pose.skeleton import Skeleton


@dataclass(frozen=True)
class TrainedModel:
    """A network with all that is needed to use it.

    Attributes:
        network: images (b, 3, H, W) to heatmaps (b, k, H / 4, W / 4); on the CPU, in eval mode.
        skeleton: the k keypoints.
        view: how people are shown to it.
    """

    network: nn.Module
    skeleton: Skeleton
    view: ViewConfig

    @classmethod
    def of(cls, saved: dict[str, Any]) -> "TrainedModel":
        """The student in a file's content: weights, and skeleton, network and view as JSON.

        Raises:
            BadInput: something is missing or does not fit.
        """
        try:
            skeleton = Skeleton.from_dict(json.loads(saved["skeleton"]))
            view = ViewConfig.model_validate_json(saved["view"])
            described = json.loads(saved["network"])
            described.pop("weights", None)  # where training started from; nothing is downloaded
            network = NetworkConfig.model_validate(described).build(
                skeleton.size, stride=view.stride
            )
            network.load_state_dict({k: v for k, v in saved.items() if isinstance(v, Tensor)})
        except (KeyError, ValueError, TypeError, RuntimeError) as error:
            rule = "must hold weights with their skeleton, network and view"
            cause = f"{type(error).__name__}: {error}".partition("\n")[0]
            remedy = "Use the student.safetensors that this project's evaluation writes"
            raise BadInput("student", f"{rule} ({cause})", remedy) from error
        network = network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        return cls(network.eval(), skeleton, view)

    def see(
        self, crops: Crops, config: EvaluationConfig, device: torch.device, title: str
    ) -> dict[str, Tensor]:
        """What it sees in people: keypoints (n, k, 2) in canonical input pixels, scores (n, k).

        Args:
            crops: the people (n), in this view.
            config: whether the mirrored view is read, too.
            device: where to compute.
            title: of the progress bar.
        """
        keypoints, scores = predict(
            self.network.to(device), crops, self.skeleton, self.view.codec,
            flip_test=config.flip_test, device=device, title=title,
        )  # fmt: skip
        return {"keypoints": keypoints, "scores": scores}


def export_model(
    checkpoint: State, skeleton: Skeleton, view: ViewConfig, network: NetworkConfig
) -> dict[str, Any]:
    """The deployed network's weights, with all that is needed to use them without other files."""
    deployed = networks_of(checkpoint, network, skeleton.size, stride=view.stride)[
        checkpoint["deployed"]
    ]
    return {
        **deployed.state_dict(),
        "skeleton": json.dumps(skeleton.to_dict()),
        "network": network.of(checkpoint["deployed"]).bare().model_dump_json(),
        "view": view.model_dump_json(),
    }
