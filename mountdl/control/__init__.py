"""What a user says to mountdl, and what it answers."""
