"""Augmentation on the device, a whole batch at a time; drawing is apart from applying."""
