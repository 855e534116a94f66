"""Training recipes of scargate's models: data, four roles, ONNX export, and an honest evaluation."""
