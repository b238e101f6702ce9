"""Hydra finds plugins in this namespace."""
