"""Network inputs back to images."""

import numpy as np
from torch import Tensor

from sspcm_kedro.data.views import MEAN, STD


def to_uint8(images: Tensor) -> np.ndarray:
    """Normalized images (n, 3, H, W) as RGB bytes (n, 3, H, W)."""
    std, mean = (images.new_tensor(v)[None, :, None, None] for v in (STD, MEAN))
    return ((images * std + mean) * 255).round().clamp(0, 255).byte().cpu().numpy()
