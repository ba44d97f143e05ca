"""Gradients of ONNX models, computed with onnxruntime."""
