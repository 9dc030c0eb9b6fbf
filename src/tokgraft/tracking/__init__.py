"""MLflow: a view of finished artifacts. No job of the workflow but the one that publishes imports these modules."""
