"""The page of a run: the files of RUN in, one HTML file out."""
