"""The administrator's hands, a file for each family of commands: parse, call, print."""
