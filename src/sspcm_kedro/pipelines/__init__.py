"""The shell: thin nodes and their wiring, one folder a pipeline."""
