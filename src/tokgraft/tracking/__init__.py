"""What a run leaves outside its folders: MLflow (a view of it) and DVC (its bytes). No job of the workflow imports these modules."""
