"""A trained network with all that is needed to use it: exported once, loaded everywhere."""

import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sspcm_kedro.data.crops import Crops
from sspcm_kedro.data.views import ViewConfig
from sspcm_kedro.engine.confidence import Confidence
from sspcm_kedro.engine.evaluate import EvaluationConfig
from sspcm_kedro.engine.learner import State, networks_of
from sspcm_kedro.engine.predict import predict
from sspcm_kedro.errors import BadInput
from sspcm_kedro.nets import NetworkConfig
from sspcm_kedro.pose.skeleton import Skeleton


@dataclass(frozen=True)
class TrainedModel:
    """A network that predicts keypoints.

    Attributes:
        network: normalized images (b, 3, H, W) to heatmaps (b, k, H / stride, W / stride), in eval
            mode; on the CPU until a method is told of a device.
        config: what ``network`` is, without the weights that its training started from.
        skeleton: the k keypoints.
        view: how people are shown to it.
        choice: which network it is and why it is shipped, as ``engine.choice.Choice.to_dict`` says
            it; empty where nothing was compared.
        confidence: how likely its keypoints are right; None where that was not measured.
        flip_test: whether it was evaluated as the mean with the mirrored view.
    """

    network: nn.Module
    config: NetworkConfig
    skeleton: Skeleton
    view: ViewConfig
    choice: dict[str, Any] = field(default_factory=dict)
    confidence: Confidence | None = None
    flip_test: bool = False

    @classmethod
    def from_checkpoint(
        cls, checkpoint: State, skeleton: Skeleton, view: ViewConfig, network: NetworkConfig,
        choice: dict[str, Any] | None = None, confidence: Confidence | None = None,
        flip_test: bool = False,
    ) -> "TrainedModel":  # fmt: skip
        """The network that a checkpoint deploys.

        Args:
            checkpoint: of any method.
            skeleton: what it was trained on.
            view: how people were shown to it.
            network: the networks of the run.
            choice: why it is shipped, if it was compared with another.
            confidence: how likely its keypoints are right, if that was measured.
            flip_test: whether it was evaluated as the mean with the mirrored view.
        """
        name = checkpoint["deployed"]
        net = networks_of(checkpoint, network, skeleton.size, stride=view.stride)[name]
        own = NetworkConfig(network.of(name).bare())
        return cls(net, own, skeleton, view, choice or {}, confidence, flip_test)

    @classmethod
    def from_tensors(cls, saved: dict[str, Any], where: object) -> "TrainedModel":
        """The model of which ``to_tensors`` gave the content.

        Args:
            saved: the content of a file.
            where: what an error calls it.

        Raises:
            BadInput: something is missing or does not fit.
        """
        try:
            skeleton = Skeleton.from_dict(json.loads(saved["skeleton"]))
            view = ViewConfig.model_validate_json(saved["view"])
            choice = json.loads(saved.get("choice", "{}"))
            sure = saved.get("confidence")
            confidence = None if sure is None else Confidence.from_dict(json.loads(sure))
            of_before = confidence is not None and confidence.flip_test
            flip_test = json.loads(saved["flip_test"]) if "flip_test" in saved else of_before
            config = NetworkConfig.model_validate_json(saved["network"]).bare()
            network = config.build(skeleton.size, stride=view.stride)
            network.load_state_dict({k: v for k, v in saved.items() if isinstance(v, Tensor)})
        except (KeyError, ValueError, TypeError, RuntimeError) as error:
            rule = "must hold weights with their skeleton, network and view"
            cause = f"{type(error).__name__}: {error}".partition("\n")[0]
            remedy = "Use the file that this project's evaluation writes"
            raise BadInput(where, f"{rule} ({cause})", remedy) from error
        network = network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        return cls(network.eval(), config, skeleton, view, choice, confidence, flip_test)

    def to_tensors(self) -> dict[str, Any]:
        """The weights by name; and as JSON, what the network, its view and its keypoints are, and
        where there are such, why it is shipped and how likely it is right; and ``flip_test``."""
        sure = self.confidence
        return {
            **self.network.state_dict(),
            "skeleton": json.dumps(self.skeleton.to_dict()),
            "network": self.config.model_dump_json(),
            "view": self.view.model_dump_json(),
            "flip_test": json.dumps(self.flip_test),
            **({"choice": json.dumps(self.choice)} if self.choice else {}),
            **({"confidence": json.dumps(sure.to_dict())} if sure else {}),
        }

    def probabilities(self, scores: np.ndarray, *, flip_test: bool) -> np.ndarray:
        """How likely keypoints with such scores (...) are right, float32.

        nan where that was not measured: for none, or with the other ``flip_test`` alone.
        """
        if self.confidence is None or self.confidence.flip_test != flip_test:
            return np.full(scores.shape, np.nan, np.float32)
        return self.confidence(scores)

    def predict(
        self, crops: Crops, config: EvaluationConfig, device: torch.device, title: str
    ) -> dict[str, Tensor]:
        """``keypoints`` (n, k, 2) in canonical input pixels, and their ``scores`` (n, k).

        Args:
            crops: the people (n), in this view.
            config: whether the mirrored view counts, too.
            device: where to compute; the network is moved there.
            title: of the progress bar.

        Raises:
            BadInput: the mirrored view would count, and training has mirrored nobody.
        """
        keypoints, scores = predict(
            self.network.to(device), crops, self.skeleton, self.view.codec,
            flip_test=config.averages_mirrored(self.view), device=device, title=title,
        )  # fmt: skip
        return {"keypoints": keypoints, "scores": scores}
