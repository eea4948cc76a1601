"""Turns a catalog into the built specs that tasks run: projections, Validate, field selection."""
