"""What each attention kind can do: small synthetic tasks with a known answer, each of which asks for one ability."""
