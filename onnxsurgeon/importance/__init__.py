"""Importance of channels, by several criteria."""
