"""What `--json` prints: one document for each verb, as types from which the published schemas are made.

A field may be added within a version; none is taken away or changed without a new number.
"""
