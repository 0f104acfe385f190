"""Charts and sheets of images, as matplotlib figures; numbers in, a figure out."""
