"""Pictures of the dashboards: weeks of a real rollout in a real Prometheus, drawn by Grafana's components."""
