"""From people to batches: instances, split, crops, views, loader. Of files it reads images."""
