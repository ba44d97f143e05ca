"""Options of commands and functions, typed once."""
