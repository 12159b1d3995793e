"""What an app and a blueprint are before any request: registration only, no I/O, no context."""
