"""Apps and blueprints before any request: registration only, without I/O and contexts."""
