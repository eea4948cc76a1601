"""Building blocks for connectors, to take or leave."""
