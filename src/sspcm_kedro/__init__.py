"""Semi-supervised 2D human pose estimation as a dataflow: SSPCM and its relatives, on Kedro."""

__version__ = "0.1.0"
