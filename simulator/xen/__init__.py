"""The toolstack: which domains there are and what they start from."""
