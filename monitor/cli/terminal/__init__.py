"""What a person reads in a terminal: tables, progress and findings."""
