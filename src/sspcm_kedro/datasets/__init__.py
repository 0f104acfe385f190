"""Catalog entries of this project: the only code that writes files."""
