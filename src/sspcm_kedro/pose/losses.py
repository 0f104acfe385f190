"""The weighted mean squared error of heatmaps, which all methods here minimize."""

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional


def keypoint_mse(
    predicted: Float[Tensor, "b k h w"],
    target: Float[Tensor, "b k h w"],
    weights: Float[Tensor, "b k"],
) -> Float[Tensor, ""]:
    """Half the mean of (w (P - T))^2 over people, keypoints and cells, a scalar.

    Source: ``JointsMSELoss`` of SimpleBaseline and HRNet, which the published SSPCM code trains by.

    Args:
        predicted: heatmaps P.
        target: heatmaps T.
        weights: w; a masked keypoint stays in the denominator, a fraction acts squared.

    Raises:
        ValueError: the shapes do not agree; nothing is broadcast in silence.
    """
    if predicted.shape != target.shape or weights.shape != predicted.shape[:2]:
        raise ValueError(
            "predicted and target must both be (b, k, h, w) and weights (b, k); got "
            f"{tuple(predicted.shape)}, {tuple(target.shape)} and {tuple(weights.shape)}"
        )
    a_map = functional.mse_loss(predicted, target, reduction="none").mean(dim=(2, 3))
    return 0.5 * (a_map * weights**2).mean()
