"""What any deterministic world needs: randomness, time, named effects, things pending. No word of the field in here."""
