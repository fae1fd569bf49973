"""The cases, one module a profile. A case is a function: its name is its id, its docstring its story."""
