"""How accurate a model is, and how sensitive to narrower layers."""
