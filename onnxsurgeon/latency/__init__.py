"""How fast models run: measured in onnxruntime as they are deployed, side by side."""
