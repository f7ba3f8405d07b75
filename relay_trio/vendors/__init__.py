"""One folder for each vendor, one file for each translation, one line for each in ``registry``."""
