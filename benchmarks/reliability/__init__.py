"""What breaks a run: a campaign of real processes. docs/reliability.md has what it found."""
