"""Alignment training: dpo, ipo and kto through TRL with an online merging optimizer; nothing is scored here.

The entry point is `omsweep.align.train.train`.
"""
