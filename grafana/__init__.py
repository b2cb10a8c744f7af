"""The dashboards that ship, and the module that makes them."""
