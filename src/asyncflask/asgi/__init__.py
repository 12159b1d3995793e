"""The protocol side: scope, receive and send. Nothing in this folder knows of Flask."""
