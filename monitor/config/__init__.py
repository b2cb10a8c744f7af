"""The config: one YAML file and the environment, checked before anything starts, and its commented reference."""
