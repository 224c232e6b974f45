"""What the page knows of every trial: its columns, its details, and the charts of when and where trials were."""
