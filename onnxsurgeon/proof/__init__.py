"""Proofs that an edited model computes what it should."""
