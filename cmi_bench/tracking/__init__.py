"""Record runs: MLflow, Weights & Biases or CSV files, and `metadata.json`."""

import os

# MLflow reads it when it is imported, which any module here may be the first to do. Set it to false to allow it.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
