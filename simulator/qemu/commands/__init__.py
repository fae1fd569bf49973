"""QMP commands, one family a module. Each takes a board and arguments, and gives the next board and a result."""
