"""The Microsoft.Compute resource provider."""
