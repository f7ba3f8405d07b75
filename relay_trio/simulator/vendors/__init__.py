"""What each vendor answers: one folder for each, and one line in ``registry``."""
