"""What a run tells, and those who listen."""
