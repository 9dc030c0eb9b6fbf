"""Views of finished artifacts: MLflow and DVC."""
