"""A runnable site: `python -m example_project`. Nothing of the packages imports it."""
