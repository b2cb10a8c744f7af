"""Examples that run; README.md says how."""
