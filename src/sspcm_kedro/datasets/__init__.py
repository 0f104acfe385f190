"""Catalog entries of this project: what a run keeps is written here alone."""
