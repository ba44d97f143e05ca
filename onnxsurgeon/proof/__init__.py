"""Proving that an edited model computes what it must."""
