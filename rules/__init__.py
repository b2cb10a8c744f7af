"""Alert rules; `slo` writes those of service levels."""
