"""Deja View."""

import os

# onnxruntime reports its use to Microsoft and keeps a device id under the home folder, unless this is set before it is imported.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

# Several threads of OpenBLAS win nothing for products as small as ours and go on spinning after each, which took 40 ms of the
# processors from every search, from the model and the database too. It is read when numpy is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
