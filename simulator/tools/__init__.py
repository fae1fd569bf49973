"""The programs that the host runs as children, as activities that can be orphaned or killed between any two steps."""
