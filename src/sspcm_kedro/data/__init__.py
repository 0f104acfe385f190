"""Reading annotations and images; the only place below the shell that opens files, only to read."""
