"""The Microsoft.Network resource provider."""
