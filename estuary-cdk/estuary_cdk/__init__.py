"""estuary_cdk."""
