"""What a good user would write with the usual libraries. Nothing here imports this project."""
