"""Records a release for later ones: histories of its orchestrators, and its code."""
