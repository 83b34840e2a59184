"""ONNX Runtime behind Touchstone's interface: a third party's adapter, as docs/new-adapter.md describes it."""
