"""What others read: the JSON shapes of rollouts, cases, calibrations and probe panels, and charts."""
