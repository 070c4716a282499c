"""Where the app's URL and key come from, and where `powerlift-fleet login` stores them."""
