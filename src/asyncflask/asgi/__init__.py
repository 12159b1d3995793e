"""The ASGI protocol: scope, receive and send. Nothing in this folder knows of Flask."""
