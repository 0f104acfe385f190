"""Tables and figures from saved numbers."""
