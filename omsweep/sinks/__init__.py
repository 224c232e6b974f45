"""Who else is told what happened: MLflow. Each sink reads what the driver recorded and never stops it."""
