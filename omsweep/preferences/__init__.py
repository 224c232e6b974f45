"""Preference data: the embedded `tiny` pairs, local JSONL or Parquet files and hub data sets, in TRL's formats."""
