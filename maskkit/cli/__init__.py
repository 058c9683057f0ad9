"""The command line: words in, one command run, an exit code out."""
