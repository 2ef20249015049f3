"""The image builder that has a Docker Engine build and push."""
