"""The probe panel: requests that every version is asked again."""
