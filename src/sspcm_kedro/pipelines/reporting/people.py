"""People as figures and the page show them: crops, labels on them, errors."""

import numpy as np
import torch

from sspcm_kedro.data.instances import Instances
from sspcm_kedro.data.views import ViewConfig, crops_of
from sspcm_kedro.machine import MachineConfig
from sspcm_kedro.pose.geometry import crop_matrix, move_points


def person_errors(predicted: np.ndarray, people: Instances) -> np.ndarray:
    """The mean error (n) of each person's labeled keypoints, image pixels; nan without any."""
    labeled = people.visibility > 0
    distance = np.linalg.norm(predicted - people.keypoints, axis=2)
    total = np.where(labeled, distance, 0).sum(axis=1)
    return np.where(labeled.any(axis=1), total / np.maximum(labeled.sum(axis=1), 1), np.nan)


def bordered_crops(people: Instances, view: ViewConfig, machine: MachineConfig) -> np.ndarray:
    """Crops (n, 3, H, W) with border; points lie ``view.border`` pixels further right and down."""
    return crops_of(people, view, machine)[torch.arange(len(people))].numpy()


def label_points(people: Instances, view: ViewConfig) -> np.ndarray:
    """Labels (n, k, 2) in canonical input pixels."""
    matrix = torch.from_numpy(crop_matrix(people.boxes, view.frame))
    return move_points(torch.from_numpy(people.keypoints).double(), matrix).numpy()
