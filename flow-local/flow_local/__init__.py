"""flow_local."""
