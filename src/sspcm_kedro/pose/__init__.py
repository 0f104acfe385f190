"""Pure tensors and numbers of pose estimation: skeletons, geometry, heatmaps, losses, metrics.

Legend, used in every shape annotation of the project (checked in the tests by jaxtyping):

    b  batch            k  keypoints          n  instances (people), boxes
    H W  input pixels   h w  heatmap cells    p  candidate pairs, patches

Three frames have coordinates: *image pixels* are those of the file, *input pixels* those of the
crop that a network reads, *heatmap cells* those of its output. Points are (x, y). Sizes are
(height, width) and say so: ``input_hw``. Boxes are (x0, y0, x1, y1).
A pixel's index is its center: the point (0, 0) lies in the middle of the first pixel, and
``x_input = stride * x_heatmap`` (the convention of SimpleBaseline and HRNet).
"""
