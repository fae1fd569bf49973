"""What is made of a run's events. Every report is a pure function from events to text."""
