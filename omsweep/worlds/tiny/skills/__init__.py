"""The seven exactly gradable skills of the embedded world; the table is in `table.py`."""
