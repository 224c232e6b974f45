"""What happened: the records of trials and the folder of a sweep."""
