"""MLflow and provenance: sinks that follow a run and never decide over it."""
