"""Deja View."""

import os

# onnxruntime reports its use to Microsoft and keeps a device id under the home folder, unless this is set before it is imported.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
