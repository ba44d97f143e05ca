"""Gradients of ONNX models, computed by onnxruntime."""
