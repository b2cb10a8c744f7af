"""How Cliffwatch is deployed, and the module that writes the manifests which repeat rules and dashboards."""
