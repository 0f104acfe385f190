"""``start``: from a folder of somebody's own to an environment with a reason beside each value."""
